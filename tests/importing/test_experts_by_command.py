"""``ofa import --experts modality`` gives what the dense model gives, bit for bit, until it is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ofa_cli.main import main
from ofacore.generalist import Generalist
from tests.importing.bart import save_bart
from tests.importing.computed import our_logits
from tests.importing.ofasys_file import write_checkpoint
from tests.importing.ofasys_state import SETTINGS, random_state, trunk, with_trunk
from tests.importing.test_trainer_files import ROWS, dictionary


def by_command(*arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["import", *arguments])
    assert not ended.value.code


@torch.no_grad()
def test_of_a_model_of_texts_and_pictures(tmp_path: Path) -> None:
    places = dictionary()
    state = with_trunk(random_state(len(places)), "image_resnet", trunk(), 1024)
    write_checkpoint(tmp_path / "a.pt", state, SETTINGS, places)
    found = []
    for kind in ("none", "modality"):
        out = tmp_path / kind
        instruction = "[IMAGE:img] [TEXT:source] -> [TEXT:target]"
        by_command(str(tmp_path / "a.pt"), "--out", str(out), "--instruction", instruction, "--experts", kind)
        ours = Generalist.from_pretrained(out)
        names = {name for name, _ in ours.model.named_parameters() if ".ffn.each." in name}
        for adapter in ("token", "image_resnet"):
            assert any(f".each.{adapter}." in name for name in names) == (kind == "modality")
        image = torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(1)).numpy()
        rows = [{"img": image, "source": source, "target": target} for source, target in ROWS]
        found.append([our_logits(ours, row)[2] for row in rows])
    for dense, experts in zip(*found, strict=True):
        assert dense.equal(experts)


@torch.no_grad()
def test_of_a_bart(tmp_path: Path) -> None:
    save_bart(tmp_path / "theirs")
    found = []
    for kind in ("none", "modality"):
        by_command(str(tmp_path / "theirs"), "--out", str(tmp_path / kind), "--experts", kind)
        ours = Generalist.from_pretrained(tmp_path / kind)
        found.append(our_logits(ours, {"source": "abcd ab a", "target": "cdcd b"})[2])
    assert found[0].equal(found[1])
