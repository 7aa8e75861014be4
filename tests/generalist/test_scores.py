"""Scores of generation equal what training computes: cached decoding against the full forward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ofacore import Generalist, Task
from ofacore.batching.collate import collate
from ofacore.batching.permutation import item_rng
from ofacore.config.problems import ConfigError
from ofacore.evaluation.forced import candidate_log_probs
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
    example = generalist.assembly.encoders[name].encode(
        row, split="test", rng=item_rng(0, name, 0, 0), row_id="row"
    )
    with torch.no_grad():
        return sum(
            float(loss.values.sum()) for _, loss in generalist.model.losses(collate([example]))
        )


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
                assert candidate.score == pytest.approx(-expected, abs=2e-3), (
                    name,
                    candidate.value,
                )


def test_candidates_are_scored_as_references_are() -> None:
    rows = [{**row, "candidates": ["cat", str(row["cap"]), "a longer one"]} for row in ROWS[:3]]
    generalist = Generalist.create([Task("open", "[TEXT:n] -> [TEXT:cap]", train=rows)], **SMALL)
    generalist.model.eval()
    encoder = generalist.assembly.encoders["open"]
    found = candidate_log_probs(generalist.model, encoder, rows, "cap", "candidates")
    for candidates, row in zip(found, rows, strict=True):
        for value, total in zip(row["candidates"], candidates, strict=True):
            assert -total == pytest.approx(
                losses(generalist, "open", {**row, "cap": value}), abs=1e-3
            )
    assert candidate_log_probs(generalist.model, encoder, rows, "cap", "nowhere") == [[], [], []]
    mixed = [rows[0], {**rows[1], "candidates": "red"}, rows[2]]
    first, second, third = candidate_log_probs(
        generalist.model, encoder, mixed, "cap", "candidates"
    )
    assert "column 'candidates': it holds no list" in str(second)
    assert [first, third] == [pytest.approx(found[0], abs=1e-4), pytest.approx(found[2], abs=1e-4)]


def test_retrieval_is_evaluated_and_candidates_hold_the_reference() -> None:
    rows = [{**row, "candidates": ["cat", "tree", str(row["cap"])]} for row in ROWS[:3]]
    uses = [{"metric": "retrieval", "slot": "cap"}]
    task = Task("open", "[TEXT:n] -> [TEXT:cap]", train=rows, test=rows, metrics=uses)
    (score,) = Generalist.create([task], **SMALL).evaluate("open")
    assert score.metric == "retrieval" and score.score in (0, 1 / 3, 2 / 3, 1)
    wrong = [{**row, "candidates": ["nothing like it"]} for row in rows]
    with pytest.raises(ConfigError, match="does not list the reference"):
        Generalist.create(
            [Task("bare", "[TEXT:n] -> [TEXT:cap]", train=wrong, test=wrong, metrics=uses)], **SMALL
        )


def test_a_second_target_is_scored_behind_the_first() -> None:
    text = "[IMAGE:img,size=32] -> [TEXT:cap,closed_set] has [TEXT:n,closed_set] letters"
    generalist = Generalist.create([Task("t", text, train=ROWS)], **SMALL)
    generalist.model.eval()
    out = generalist.infer("t", {"img": ROWS[0]["img"]}, n_best=4)
    assert out.score == pytest.approx(
        -losses(generalist, "t", {**ROWS[0], "cap": out["cap"], "n": out["n"]}), abs=2e-3
    )


def test_turns_of_a_repeat_are_decided_as_they_are_learned(tmp_path: Any) -> None:
    text = "[IMAGE:img,size=32] -> ([BOX:boxes,preprocess=box_coarse] [TEXT:names,closed_set])*"
    rows = [{"img": row["img"], "boxes": row["boxes"], "names": row["names"]} for row in ROWS[:2]]
    generalist = Generalist.create(
        [Task("t", text, train=rows, valid=rows)], **{**SMALL, "hidden": 64}
    )
    generalist.fit(200, out=tmp_path / "run", samples=8, trackers=(), precision="fp32", threads=1)
    for row in rows:
        out = generalist.infer("t", {"img": row["img"]})
        assert out["names"] == row["names"]
        assert len(out["boxes"]) == len(row["boxes"])
