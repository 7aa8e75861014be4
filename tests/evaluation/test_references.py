"""References are taken as the slot takes its targets: a faultless answer scores best, a bad reference costs its row."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from ofacore import Generalist, Task
from ofacore.evaluation.evaluation_errors import EvaluationError
from ofacore.evaluation.judging import Answered, Judging
from ofacore.evaluation.references import NoReference, TargetValues, faultless
from ofacore.evaluation.runner import Evaluation, evaluate_tasks
from ofacore.evaluation.scoring import filled
from ofacore.plugin import Registry
from ofacore.protocols import Hypothesis

SMALL: dict[str, Any] = {
    "hidden": 32,
    "ffn": 64,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "dropout": 0.0,
}
LABELS = ("Positive", "Negative", "Neutral!")


@pytest.fixture(autouse=True, scope="module")
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def scene(colour: str, corners: list[int]) -> Image.Image:
    image = Image.new("RGB", (100, 80), "white")
    ImageDraw.Draw(image).rectangle(corners, fill=colour)
    return image


CORNERS = ([40, 20, 90, 60], [5, 10, 45, 70], [20, 4, 60, 36])


def cxcywh(box: list[int]) -> list[float]:
    x0, y0, x1, y1 = box
    return [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]


def walk(frames: int, offset: float) -> dict[str, Any]:
    t = np.linspace(0, 6, frames)
    return {"frames": np.stack([np.sin(t) + offset, np.cos(t), t * offset, t], 1), "fps": 20.0}


ROWS = [
    {
        "img": scene(colour, box),
        "xyxy": box,
        "xywh": [*box[:2], box[2] - box[0], box[3] - box[1]],
        "cxcywh": cxcywh(box),
        "cell": str(box),
        "beyond": [-20, *box[1:]],
        "shares": [box[0] / 100, box[1] / 80, box[2] / 100, box[3] / 80],
        "boxes": [box, [1, 1, 30, 30]],
        "cells": f"{str(box)[1:-1]};1,1,30,30",
        "kinds": ["Tree", "House"],
        "label": label,
        "letters": "Ünder-Score, twice",
        "n": number,
        "kind": "Tree",
        "m": walk(30 + 5 * number, number + 1.0),
    }
    for number, (colour, box, label) in enumerate(
        zip(("red", "green", "blue"), CORNERS, LABELS, strict=True)
    )
]


def task(
    name: str, target: str, metric: str, rows: list[dict[str, Any]] | None = None, **use: Any
) -> Task:
    slot = target.split(":", 1)[1].split("]")[0].split(",")[0]
    use = {"metric": metric, "slot": slot, **use}
    rows = ROWS if rows is None else rows
    return Task(
        name, f"[IMAGE:img,size=64] what? -> {target}", train=ROWS, test=rows, metrics=[use]
    )


COARSE = "preprocess=box_coarse"
PERFECT = {
    "corners": ("[BOX:xyxy]", "iou_accuracy", {"threshold": 0.9}),
    "centre": (f"[BOX:cxcywh,format=cxcywh,{COARSE}]", "iou_accuracy", {"threshold": 0.8}),
    "size": ("[BOX:xywh,format=xywh]", "detection_map", {}),
    "shares": ("[BOX:shares,relative]", "box_recall", {"threshold": 0.9}),
    "text of a cell": ("[BOX:cell]", "iou_accuracy", {"threshold": 0.9}),
    "beyond the picture": ("[BOX:beyond,clip]", "iou_accuracy", {"threshold": 0.95}),
    "scores": ("[BOX:cxcywh,format=cxcywh,scores]", "detection_map", {}),
    "many": ("[BOX:boxes,many]", "detection_map", {}),
    "many in a cell": ("[BOX:cells,many]", "count_error", {}),
    "turns with labels": (
        "([BOX:boxes] [TEXT:kinds,uncased])*",
        "detection_map",
        {"labels": "kinds"},
    ),
    "one label for all turns": (
        "([BOX:boxes] [TEXT:kind,uncased])*",
        "detection_map",
        {"labels": "kind"},
    ),
    "case": ("[TEXT:label,uncased]", "accuracy", {}),
    "punctuation": ("[TEXT:label,no_punctuation]", "f1", {}),
    "both, closed": ("[TEXT:label,closed_set,uncased,no_punctuation]", "exact_match", {}),
    "cut": ("[TEXT:letters,max_length=3]", "exact_match", {}),
    "letters": ("[TEXT:letters,level=character,uncased,max_length=9]", "cer", {}),
    "a number": ("[TEXT:n]", "accuracy", {}),
    "a class": ("[TEXT:label,preprocess=category]", "accuracy", {}),
    "clip": ("[MOTION:m]", "motion_mse", {}),
    "anchor": ("[MOTION:m,anchor_frame=3]", "motion_mse", {}),
    "rate": ("[MOTION:m,sample_rate=10]", "motion_mse", {}),
    "window": ("[MOTION:m,window,max_length=12,anchor_frame=0]", "motion_mse", {}),
    "filled in": ("[MOTION:m,inbetween=2/5-9/1,anchor_frame=1]", "motion_mse", {}),
    "frames asked for": ("[MOTION:m,length=11]", "motion_mse", {}),
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


@pytest.fixture(scope="module")
def untrained(registry: Registry) -> Generalist:
    tasks = [
        task(f"t{k}", target, m, options=o) for k, (target, m, o) in enumerate(PERFECT.values())
    ]
    return Generalist.create(tasks, registry=registry, **SMALL)


def faultless_answers(
    model: Generalist, name: str, raw: dict[str, Any], values: TargetValues
) -> Answered:
    """A row answered by what encoding and decoding make of its own target."""
    encoder, found = values.encoder, dict[str, Any]()
    ctx = encoder.context(raw, values.template, "test", np.random.default_rng(0))
    for item in encoder.expand(values.template, ctx).target:
        slot = item.slot
        if not hasattr(item, "value") or slot.plain is not None:
            continue
        preprocessor = encoder.preprocessors[slot.preprocessor]
        preprocessor.expect(slot, ctx)
        ids = faultless(preprocessor.encode(item.value, slot, ctx))
        assert ids is not None
        value = preprocessor.decode(Hypothesis(ids), slot, ctx)
        found[slot.name] = [*found.get(slot.name, ()), value] if slot.repeat else value
    return Answered(name, raw, ctx, found)


@pytest.mark.parametrize("case", PERFECT)
def test_a_faultless_answer_scores_best(untrained: Generalist, case: str) -> None:
    plan = untrained.plan(f"t{list(PERFECT).index(case)}")
    values = TargetValues.of(untrained.assembly.encoder(plan))
    rows = [faultless_answers(untrained, f"row {k}", raw, values) for k, raw in enumerate(ROWS)]
    judging, (use,) = Judging(values, rows, untrained.assembly.registry), plan.metrics
    judged, kept, left = judging.judged(use)
    score = next(iter(filled(judged, use, judging.registry, judged.predictions).compute().values()))
    assert kept == [0, 1, 2] and not left
    assert score == pytest.approx(
        0.0 if use.metric in ("motion_mse", "cer", "count_error") else 1.0, abs=1e-5
    )


def test_boxes_are_compared_unrounded(untrained: Generalist) -> None:
    """Bins cost what they cost: references do not go through them."""
    values = TargetValues.of(untrained.assembly.encoder(untrained.plan("t1")))
    ctx = values.encoder.context(ROWS[0], values.template, "test", np.random.default_rng(0))
    assert values.references(ctx)["cxcywh"].value == CORNERS[0]  # type: ignore[union-attr]
    assert values.references(ctx)["cxcywh"].shown == cxcywh(CORNERS[0])  # type: ignore[union-attr]


def test_a_value_that_the_slot_cannot_express_counts(untrained: Generalist) -> None:
    """A label outside of the closed set, a box out of view: no answer meets them, but they are references."""
    for name, slot, value, expected in (
        ("t13", "label", "Mixed.", "mixed"),
        ("t0", "xyxy", [200, 200, 300, 300], [200, 200, 300, 300]),
        ("t17", "label", "Unseen", "Unseen"),
    ):
        values = TargetValues.of(untrained.assembly.encoder(untrained.plan(name)))
        ctx = values.encoder.context(
            {**ROWS[0], slot: value}, values.template, "test", np.random.default_rng(0)
        )
        assert values.references(ctx)[slot].value == expected  # type: ignore[union-attr]
    ctx.row = {**ctx.row, "label": True}
    assert isinstance(values.references(ctx)["label"], NoReference)


@pytest.fixture(scope="module")
def by_heart(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Generalist:
    """Trained for 60 steps on three rows."""
    uses = [{"metric": name, "slot": "label"} for name in ("accuracy", "f1", "exact_match")]
    boxes = [{"metric": name, "slot": "cxcywh"} for name in ("iou_accuracy", "box_recall")]
    tasks = [
        Task("free", "[TEXT:n] free -> [TEXT:label,uncased]", train=ROWS, test=ROWS, metrics=uses),
        Task(
            "closed",
            "[TEXT:n] closed -> [TEXT:label,closed_set,no_punctuation]",
            train=ROWS,
            metrics=uses,
        ),
        Task(
            "box",
            f"[IMAGE:img,size=64,augment=none] [TEXT:n] -> [BOX:cxcywh,format=cxcywh,{COARSE}]",
            train=ROWS,
            metrics=boxes,
        ),
    ]
    model = Generalist.create(tasks, registry=registry, **{**SMALL, "hidden": 64, "ffn": 128})
    model.fit(
        60,
        out=tmp_path_factory.mktemp("by_heart") / "run",
        samples=9,
        precision="fp32",
        threads=1,
        trackers=(),
        optimizer={"name": "adamw", "lr": 5e-3},
        lr={"name": "constant"},
    )
    return model


def test_what_was_learned_by_heart_scores_one(by_heart: Generalist) -> None:
    rows = by_heart.evaluate(data=dict.fromkeys(("free", "closed", "box"), ROWS))
    assert [(row.task, row.metric, row.score) for row in rows if row.score < 0.999] == []
    assert {row.left_out for row in rows} == {0}


def evaluated(model: Generalist, name: str, rows: list[dict[str, Any]]) -> Evaluation:
    from ofacore.setup.datasets import TaskRows
    from ofacore.sources import ListSource

    model.data = {**model.data, name: TaskRows({"test": ListSource(rows, "rows")})}
    (found,) = evaluate_tasks(model, [name], generation={"max_length": 3, "steps": 1})
    return found


@pytest.mark.parametrize(
    ("target", "metric", "column"),
    [
        ("[TEXT:label]", "accuracy", "label"),
        ("[TEXT:label]", "perplexity", "label"),
        ("[TEXT:label]", "retrieval", "label"),
        ("[TEXT:n] ([TEXT:label])?", "chrf", "label"),
        ("[BOX:xyxy]", "iou_accuracy", "xyxy"),
        ("[BOX:boxes,many]", "detection_map", "boxes"),
        ("([BOX:boxes])*", "box_recall", "boxes"),
        ("[MOTION:m]", "motion_mse", "m"),
    ],
)
def test_a_row_without_a_reference_costs_that_row(
    registry: Registry, target: str, metric: str, column: str
) -> None:
    rows = [{**row, "candidates": list(LABELS)} for row in ROWS]
    made = task("t", target, metric, [rows[0], {**rows[1], column: None}, rows[2]], slot=column)
    model = Generalist.create([made], registry=registry, **SMALL)
    found = evaluated(model, "t", [rows[0], {**rows[1], column: None}, rows[2]])
    assert found.notices == (
        f"1 of 3 rows of task 't' had no reference in column '{column}': left out (rows[1])",
    )
    assert not found.failures and {(row.samples, row.left_out) for row in found.scores} == {(2, 1)}
    assert len(found.samples) == 3


@pytest.mark.parametrize(
    ("target", "metric", "change", "said"),
    [
        ("[TEXT:label]", "accuracy", {"label": True}, "expected text or a number, got bool True"),
        ("[BOX:xyxy]", "iou_accuracy", {"xyxy": [50, 50, 20, 60]}, "is inverted or empty"),
        ("([BOX:boxes])*", "count_error", {"boxes": [[1, 2, 3]]}, "expected a box of four numbers"),
        ("([BOX:boxes])*", "count_error", {"boxes": [CORNERS[0], None]}, "value 1 of 2 is missing"),
        (
            "([BOX:boxes] [TEXT:kinds])*",
            "count_error",
            {"kinds": None},
            "its repeat has nothing in column kinds",
        ),
        (
            "([BOX:boxes] [TEXT:kinds])*",
            "count_error",
            {"kinds": ["Tree"]},
            "its repeat has 1 values here",
        ),
        ("[MOTION:m]", "motion_mse", {"m": np.zeros((40, 7))}, "7 numbers a frame"),
        ("[MOTION:m]", "motion_mse", {"m": np.full((20, 4), np.nan)}, "not finite"),
        ("[MOTION:m]", "motion_mse", {"m": "no/such.npy"}, "no file 'no/such.npy'"),
        ("[MOTION:m]", "motion_mse", {"m": math.nan}, "expected [frames, dims]"),
    ],
)
def test_a_bad_reference_costs_that_row(
    registry: Registry, target: str, metric: str, change: dict[str, Any], said: str
) -> None:
    model = Generalist.create([task("t", target, metric)], registry=registry, **SMALL)
    found = evaluated(model, "t", [ROWS[0], {**ROWS[1], **change}, ROWS[2]])
    (notice,) = found.notices
    assert "1 of 3 rows of task 't' left out" in notice and "rows[1]" in notice and said in notice
    assert not found.failures and {(row.samples, row.left_out) for row in found.scores} == {(2, 1)}


def test_a_dict_that_is_one_value_of_its_slot_is_no_list_of_graded_ones(registry: Registry) -> None:
    rows = [{"n": 1, "rec": {"count": 1}}, {"n": 2, "rec": {"count": 2, "all": {"a": 1}}}]
    uses = [{"metric": "structure_match", "slot": "rec"}]
    made = Task("t", "[TEXT:n] -> [STRUCT:rec]", train=rows[:1], metrics=uses)
    found = evaluated(Generalist.create([made], registry=registry, **SMALL), "t", rows)
    (notice,) = found.notices
    assert "'all': a dict of 1 is no cell" in notice and "no file" not in notice


def test_slots_are_judged_each_by_their_own_references(registry: Registry) -> None:
    rows = [{**ROWS[0], "n": math.nan}, {**ROWS[1], "label": None}, ROWS[2]]
    uses = [{"metric": "accuracy", "slot": slot} for slot in ("n", "label")]
    made = Task("t", "[IMAGE:img,size=64] -> [TEXT:n] [TEXT:label]", train=ROWS, metrics=uses)
    found = evaluated(Generalist.create([made], registry=registry, **SMALL), "t", rows)
    assert [(row.samples, row.left_out) for row in found.scores] == [(2, 1), (2, 1)]
    assert [notice.split("left out")[1] for notice in found.notices] == [" (rows[0])", " (rows[1])"]


def test_columns_of_references_and_candidates_go_through_the_slot(registry: Registry) -> None:
    rows = [
        {
            **row,
            "refs": ["Other", row["label"].upper()],
            "near": str(row["boxes"][0]),
            "candidates": ["pOSITIVE", "nO"],
        }
        for row in ROWS
    ]
    rows[1] |= {"refs": ["x", None], "near": None, "candidates": ["nothing", "like it"]}
    rows[2]["label"] = "No"
    uses = [
        {"metric": "exact_match", "slot": "label", "references": "refs"},
        {"metric": "vqa_score", "slot": "label", "references": "refs"},
        {"metric": "retrieval", "slot": "label"},
    ]
    made = Task("t", "[TEXT:n] -> [TEXT:label,uncased]", train=ROWS, test=rows, metrics=uses)
    model = Generalist.create([made], registry=registry, **SMALL)
    values = TargetValues.of(model.assembly.encoder(model.plan("t")))
    ctx = values.encoder.context(rows[0], values.template, "test", np.random.default_rng(0))
    slot = values.slots["label"]
    assert values.reference(slot, "refs", rows[0], ctx).value == ["other", "positive"]  # type: ignore[union-attr]
    graded = values.reference(slot, "g", {"g": {"Yes": 0.3, "yes": 1.0}}, ctx)
    assert graded.value == {"yes": 1.0}  # type: ignore[union-attr]
    found = evaluated(model, "t", rows)
    assert (
        not found.failures and [(row.samples, row.left_out) for row in found.scores] == [(2, 1)] * 3
    )
    assert len(found.notices) == 2 and "does not list the reference" in found.notices[1]
    box = task("t", "[BOX:cell]", "iou_accuracy", rows, options={"any": "near"})
    found = evaluated(Generalist.create([box], registry=registry, **SMALL), "t", rows)
    assert [(row.samples, row.left_out) for row in found.scores] == [(2, 1)]
    assert "no reference in column 'near'" in found.notices[0]


def test_the_command_goes_on_without_a_row(
    registry: Registry, tmp_path: Path, capfd: Any, caplog: Any
) -> None:
    from ofa_cli.main import main

    lines = [{"n": str(k), "label": None if k == 7 else LABELS[k % 3]} for k in range(12)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    uses = [{"metric": "accuracy", "slot": "label"}]
    made = Task("x", "[TEXT:n] -> [TEXT:label]", train=str(path), test=str(path), metrics=uses)
    Generalist.create([made], registry=registry, **SMALL).save(tmp_path / "saved")
    with pytest.raises(SystemExit) as ended:
        main(["eval", str(tmp_path / "saved"), "--json"])
    assert ended.value.code in (0, None)
    (row,) = json.loads(capfd.readouterr().out)
    assert (row["samples"], row["left_out"]) == (11, 1)
    assert (
        f"1 of 12 rows of task 'x' had no reference in column 'label': left out ({path}:8)"
        in caplog.text
    )


def test_without_any_reference_there_is_no_score(registry: Registry) -> None:
    rows = [{**row, "label": None} for row in ROWS]
    model = Generalist.create([task("t", "[TEXT:label]", "accuracy")], registry=registry, **SMALL)
    with pytest.raises(EvaluationError, match="no row has a reference in column 'label'") as caught:
        model.evaluate(data={"t": rows})
    assert [row.problem for row in caught.value.scores] == [
        "no row has a reference in column 'label'"
    ]


def test_baselines_are_written_as_data_are(untrained: Generalist) -> None:
    for name, slot, given, expected in (
        ("t1", "cxcywh", str(cxcywh(CORNERS[0])), CORNERS[0]),
        ("t13", "label", "Neutral!", "neutral"),
        ("t1", "cxcywh", "rubbish", "rubbish"),
        ("t1", "cxcywh", None, None),
    ):
        values = TargetValues.of(untrained.assembly.encoder(untrained.plan(name)))
        ctx = values.encoder.context(ROWS[0], values.template, "test", np.random.default_rng(0))
        assert values.given_predictions({slot: given}, ctx) == {slot: expected}
