"""``ofa import --experts modality`` gives what the dense model gives, bit for bit, until it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ofa_cli.main import main
from ofa_foreign.exporting import export_run
from ofa_foreign.importing import import_run
from ofacore.batching.collate import collate
from ofacore.generalist.facade import Generalist
from ofacore.ground.errors import UserError
from ofacore.setup.task import Task
from tests.foreign.bart import save_bart
from tests.foreign.computed import our_logits
from tests.foreign.ofasys_file import write_checkpoint
from tests.foreign.ofasys_state import SETTINGS, random_state, trunk, with_trunk
from tests.foreign.test_trainer_files import ROWS, dictionary


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
        by_command(
            str(tmp_path / "a.pt"),
            "--out",
            str(out),
            "--instruction",
            instruction,
            "--experts",
            kind,
        )
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


ANSWERS = [{"a": "red cat", "b": "cat red"}, {"a": "blue dog", "b": "dog blue"}] * 3


def trained(folder: Path, **model: Any) -> Generalist:
    """A dense run of this project, with averaged weights and pictures."""
    picture = torch.rand(16, 16, 3, generator=torch.Generator().manual_seed(1)).numpy()
    seen = [{"img": picture, "b": "red"}, {"img": picture, "b": "dog"}] * 2
    tasks = [
        Task("swap", "swap: [TEXT:a] -> [TEXT:b]", train=ANSWERS),
        Task("see", "[IMAGE:img] what? -> [TEXT:b]", train=seen),
    ]
    sizes = {"hidden": 16, "ffn": 24, "heads": 2, "encoder_layers": 2, "decoder_layers": 1, **model}
    made = Generalist.create(tasks, preset="tiny", **sizes)
    made.fit(3, out=folder, samples=4, workers=0, ema=0.5, optimizer={"lr": 1e-2})
    return made


@torch.no_grad()
def hidden_states(folder: Path) -> list[torch.Tensor]:
    """Of both tasks, encoder and decoder."""
    ours, found = Generalist.from_pretrained(folder), []
    image = torch.rand(16, 16, 3, generator=torch.Generator().manual_seed(2)).numpy()
    for task, row in (("swap", {"a": "blue cat", "b": "red"}), ("see", {"img": image, "b": "dog"})):
        example = ours.assembly.encoders[task].encode(
            row, split="valid", rng=np.random.default_rng(1), row_id="0"
        )
        hidden = ours.model.hidden(collate([example]))
        found += [hidden.source, hidden.target]
    return found


@pytest.mark.parametrize(
    "options", [{}, {"positions": "untied"}, {"lora": {"rank": 2}}], ids=["plain", "untied", "lora"]
)
@pytest.mark.usefixtures("bf16_units")
def test_of_a_run_of_this_project(options: dict[str, Any], tmp_path: Path) -> None:
    trained(tmp_path / "dense", **options)
    by_command(str(tmp_path / "dense"), "--out", str(tmp_path / "experts"), "--experts", "modality")
    assert all(
        a.equal(b)
        for a, b in zip(
            *map(hidden_states, (tmp_path / "dense", tmp_path / "experts")), strict=True
        )
    )
    ours = Generalist.from_pretrained(tmp_path / "experts")
    before = {
        name: value.clone() for name, value in ours.model.named_parameters() if ".ffn.each." in name
    }
    assert {name.split(".each.")[1].split(".")[0] for name in before} == {"token", "image_conv"}
    ours.fit(
        2,
        out=tmp_path / "more",
        samples=4,
        workers=0,
        data={"swap": ANSWERS, "see": seen_rows()},
        optimizer={"lr": 1e-2},
    )
    token, image = (
        ours.model.state_dict()[f"backbone.encoder.0.ffn.each.{n}.up.weight"]
        for n in ("token", "image_conv")
    )
    assert options.get("lora") or not token.equal(image)


def seen_rows() -> list[dict[str, Any]]:
    picture = torch.rand(16, 16, 3, generator=torch.Generator().manual_seed(5)).numpy()
    return [{"img": picture, "b": "red"}] * 4


def test_of_a_saved_model_and_of_an_imported_run(tmp_path: Path) -> None:
    theirs = save_bart(tmp_path / "theirs")
    by_command(str(tmp_path / "theirs"), "--out", str(tmp_path / "run"))
    Generalist.from_pretrained(tmp_path / "run").save(tmp_path / "saved")
    for place in ("run", "saved"):
        by_command(
            str(tmp_path / place), "--out", str(tmp_path / f"{place}-e"), "--experts", "modality"
        )
        export_run(tmp_path / f"{place}-e", tmp_path / f"{place}-back", "hf-bart")
        back = load_file(tmp_path / f"{place}-back" / "model.safetensors")
        assert all(
            back[name].equal(tensor) for name, tensor in theirs.state_dict().items() if name in back
        )


def test_what_a_run_of_this_project_cannot_become(tmp_path: Path) -> None:
    trained(tmp_path / "dense")
    with pytest.raises(
        UserError, match=r"is a run of this project already; only --experts modality"
    ):
        import_run(tmp_path / "dense", tmp_path / "out")
    with pytest.raises(UserError, match=r"has its tasks and tokens; leave out --instruction"):
        import_run(
            tmp_path / "dense",
            tmp_path / "out",
            instructions=["[TEXT:a] -> [TEXT:b]"],
            experts="modality",
        )
    import_run(tmp_path / "dense", tmp_path / "experts", experts="modality")
    with pytest.raises(UserError, match=r"has experts already \(model.experts: modality\)"):
        import_run(tmp_path / "experts", tmp_path / "out", experts="modality")
    assert not (tmp_path / "out").exists()
