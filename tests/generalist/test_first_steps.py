"""The few lines with which everybody begins, and a model among other plugins than it was made with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ofa_kit.registry import load_manifest
from ofacore import Generalist, Task
from ofacore.batching.collate import collate
from ofacore.checkpoint import CheckpointError
from ofacore.components.manifest import MANIFEST as CORE
from ofacore.plugin import CONTRACT, Component, ModalityManifest, Registry, SlotType

CAPTION = "[IMAGE:img] what does the image describe? -> [TEXT:cap]"
SMALL: dict[str, Any] = {
    "preset": "tiny",
    "hidden": 32,
    "ffn": 64,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "heads": 2,
}


@pytest.mark.usefixtures("bf16_units")
def test_create_fit_save_load_infer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 30), "orange").save("cat.png")
    rows = [{"img": "cat.png", "cap": f"cat {number}"} for number in range(8)]
    model = Generalist.create([Task("caption", CAPTION, train=rows)], **SMALL)
    model.fit(steps=2, samples=8, trackers=("jsonl",))
    model.save("run")
    model = Generalist.from_pretrained("run")
    out = model.infer(CAPTION, {"img": "cat.png"}, max_length=8)
    assert out["cap"] == out.text and out.score < 0
    assert repr(out) == f"Output(cap={out.text!r}, score={out.score:.4g})"
    out.save("out.png")
    with Image.open("out.png") as picture:
        assert picture.height > 30
    assert [one.text for one in model.infer(CAPTION, [{"img": "cat.png"}] * 2, max_length=8)] == [
        out.text
    ] * 2


def test_other_plugins_leave_logits_and_answers_of_a_saved_model_bit_equal(tmp_path: Path) -> None:
    rows = [{"a": f"cat {number}", "b": f"dog {number}"} for number in range(6)]
    Generalist.create([Task("t", "say [TEXT:a] -> [TEXT:b]", train=rows)], **SMALL).save(
        tmp_path / "saved"
    )
    text, image, box, motion = map(load_manifest, ("text", "image", "box", "motion"))
    extra = ModalityManifest(
        "aaa",
        CONTRACT,
        slots=(SlotType("AAA", "new", "aaa", "anything", lambda value: True),),
        components=(Component("preprocessor", "aaa", "nowhere:X", uses={"adapter": "token"}),),
    )
    registries = [
        Registry.discover(),
        Registry.of(CORE, text),
        Registry.of(extra, motion, box, image, text, CORE),
    ]
    found = [
        _logits(Generalist.from_pretrained(tmp_path / "saved", registry=registry))
        for registry in registries
    ]
    assert all(torch.equal(found[0], other) for other in found[1:])
    with pytest.raises(
        CheckpointError, match="needs plugins that are not here: pip install .*ofa-modality-text=="
    ):
        Generalist.from_pretrained(tmp_path / "saved", registry=Registry.of(CORE))


def _logits(model: Generalist) -> torch.Tensor:
    row = {"a": "cat 1", "b": "dog 1"}
    example = model.assembly.encoders["t"].encode(
        row, split="valid", rng=np.random.default_rng(0), row_id="row"
    )
    with torch.no_grad():
        return model.model.eval().hidden(collate([example])).target
