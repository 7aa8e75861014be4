"""Scores of generation equal what training computes: cached decoding against the full forward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ofacore import Generalist, Task
from ofacore.data.collate import collate
from ofacore.data.permutation import item_rng
from tests.generalist.test_generalist import ROWS, SMALL

TEMPLATES = {
    "alone": "[IMAGE:img,size=32] which? -> [TEXT:cap,closed_set]",
    "prompted": "is [TEXT:n] long? -> is [TEXT:n,no_loss] long? [TEXT:cap,closed_set]",
    "behind a motion": "[TEXT:n] -> [MOTION:m,no_loss,min_length=0] [TEXT:cap,closed_set]",
    "behind a box": "[IMAGE:img,size=32] -> [BOX:box,no_loss] is [TEXT:cap,closed_set]",
    "no source": "-> it is [TEXT:cap,closed_set]",
}


def losses(generalist: Generalist, name: str, row: dict[str, Any]) -> float:
    """Summed loss of one row by a full forward pass."""
    example = generalist.assembly.encoders[name].encode(row, split="test", rng=item_rng(0, name, 0, 0), row_id="row")
    with torch.no_grad():
        return sum(float(loss.values.sum()) for _, loss in generalist.model.losses(collate([example])))


@pytest.mark.parametrize("positions", ["rotary", "untied"])
@pytest.mark.parametrize("experts", ["none", "modality", "task"])
def test_closed_set_scores_are_the_losses_of_training(positions: str, experts: str) -> None:
    tasks = [Task(name, text, train=ROWS) for name, text in TEMPLATES.items()]
    factor = 2.0 if positions == "untied" else 1.0
    options = {**SMALL, "positions": positions, "experts": experts, "attn_scale_factor": factor}
    generalist = Generalist.create(tasks, **options)
    generalist.model.eval()
    for name in TEMPLATES:
        out = generalist.infer(name, [ROWS[0], ROWS[3]], n_best=9)
        for row, output in zip((ROWS[0], ROWS[3]), out, strict=True):
            for candidate in output.candidates["cap"]:
                expected = losses(generalist, name, {**row, "cap": candidate.value})
                assert candidate.score == pytest.approx(-expected, abs=2e-3), (name, candidate.value)


def test_a_second_target_is_scored_behind_the_first() -> None:
    text = "[IMAGE:img,size=32] -> [TEXT:cap,closed_set] has [TEXT:n,closed_set] letters"
    generalist = Generalist.create([Task("t", text, train=ROWS)], **SMALL)
    generalist.model.eval()
    out = generalist.infer("t", {"img": ROWS[0]["img"]}, n_best=4)
    assert out.score == pytest.approx(-losses(generalist, "t", {**ROWS[0], "cap": out["cap"], "n": out["n"]}), abs=2e-3)


def test_turns_of_a_repeat_are_decided_as_they_are_learned(tmp_path: Any) -> None:
    text = "[IMAGE:img,size=32] -> ([BOX:boxes,preprocess=box_coarse] [TEXT:names,closed_set])*"
    rows = [{"img": row["img"], "boxes": row["boxes"], "names": row["names"]} for row in ROWS[:2]]
    generalist = Generalist.create([Task("t", text, train=rows, valid=rows)], **{**SMALL, "hidden": 64})
    generalist.fit(200, out=tmp_path / "run", samples=8, trackers=(), precision="fp32", threads=1)
    for row in rows:
        out = generalist.infer("t", {"img": row["img"]})
        assert out["names"] == row["names"]
        assert len(out["boxes"]) == len(row["boxes"])
