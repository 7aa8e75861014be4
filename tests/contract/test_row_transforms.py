"""A task names transforms that see the whole row, its generator, and the lengths of all slots."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_kit import ClosedRegistry
from ofacore import Generalist, Task
from ofacore.config.schema import RunConfig
from ofacore.config.task_section import TaskConfig
from ofacore.plan import as_text, plan_task
from ofacore.plan.checking import check
from ofacore.plan.planned_run import PlannedRun
from ofacore.setup.assembly import Assembly
from ofacore.setup.datasets import open_tasks
from tests.contract import budgets

TEXT = "ofa_modality_text.manifest:MANIFEST"
WORDS = ["red", "green", "blue", "cat", "dog", "sun", "moon"]
LONG = " ".join(WORDS * 4)
ROWS = [{"a": LONG, "b": " ".join(WORDS), "c": word} for word in WORDS]


@pytest.fixture(scope="module")
def registry():
    return ClosedRegistry().register(TEXT, budgets.MANIFEST)


def encoder(registry, transforms=None, preset="pair", **more):
    data = {"train": ROWS, "row_transforms": transforms or {}}
    source = {"preset": preset} if preset else {"instruction": "[TEXT:a] , [TEXT:b] -> [TEXT:c]"}
    config = RunConfig.model_validate({"tasks": {"pair": {**source, "data": data}}, **more})
    run = PlannedRun.of(config, registry)
    return Assembly.create(run, open_tasks(run)).encoders["pair"]


def encoded(made, row, split="train", seed=0):
    return made.encode(
        row, split=split, rng=np.random.default_rng(seed), row_id="f.csv:7", keep_context=True
    )


def positions(example):
    sides = [*example.source, example.target]
    return sum(piece.length for side in sides for piece in side)


def test_one_budget_over_all_slots_is_kept(registry):
    made = encoder(registry)
    for row in ROWS:
        example = encoded(made, row)
        assert positions(example) <= 24
        row = example.context.row
        assert LONG.startswith(row["a"]) and len(row["a"]) < len(LONG) and row["b"] and row["c"]
    request = made.encode_request({"a": LONG, "b": LONG}, rng=np.random.default_rng(0), row_id="0")
    assert sum(piece.length for side in request.source.source for piece in side) <= 24


def test_what_is_measured_is_what_is_encoded_and_measuring_leaves_no_trace(registry):
    made, seen = encoder(registry, preset=""), []
    made.row_transforms["look"] = lambda row, slots, ctx, measure: seen.append(measure(row)) or row
    example = encoded(made, ROWS[0], split="test")
    (lengths,) = seen
    assert (lengths.total, lengths.target) == (
        positions(example),
        sum(piece.length for piece in example.target),
    )
    assert set(lengths.slots) == {"a", "b", "c"} and lengths.slots["a"] > lengths.slots["c"]
    plain = encoded(encoder(registry, preset=""), ROWS[0])
    assert positions(encoded(made, ROWS[0])) == positions(plain)


def test_a_row_longer_than_the_model_can_be_measured_and_cut(registry):
    made = encoder(registry, model={"max_positions": 26})
    assert positions(encoded(made, ROWS[0])) <= 24


def test_it_draws_from_the_generator_of_the_row(registry):
    made = encoder(registry, {"shuffle": {}}, preset="")
    first = {seed: encoded(made, ROWS[0], seed=seed).context.row["a"] for seed in range(8)}
    again = {seed: encoded(made, ROWS[0], seed=seed).context.row["a"] for seed in range(8)}
    assert first == again and len(set(first.values())) == 2


def test_options_of_a_task_go_before_those_of_its_preset(registry):
    plan = plan_task(
        "pair",
        TaskConfig(preset="pair", data={"row_transforms": {"budget": {"limit": 40}}}),
        registry,
    )
    assert plan.row_transforms == {"budget": {"limit": 40}}
    assert "row transforms\n  budget | limit=40" in as_text(plan)


def test_errors_name_task_row_and_component(registry):
    made = encoder(registry, {"budget": {"limit": 8}})
    with pytest.raises(
        ValueError, match="task 'pair', f.csv:7.*row transform 'budget': .* no text can be cut"
    ):
        encoded(made, {**ROWS[0], "a": "red", "b": "red"})
    with pytest.raises(ValueError, match="task 'pair', f.csv:7, column 'a'"):
        encoded(made, {**ROWS[0], "a": ["no text"]})
    for name, kind, message in (
        ("nothing", TypeError, "row transform 'nothing' returned a NoneType"),
        ("broken", KeyError, "no such column"),
    ):
        with pytest.raises(kind, match=message) as caught:
            encoded(encoder(registry, {name: {}}, preset=""), ROWS[0])
        notes = " ".join(caught.value.__notes__)
        assert f"raised by row_transform '{name}' of plugin 'budgets'" in notes
        assert "while encoding f.csv:7 of task 'pair'" in notes


def test_a_configuration_is_checked(registry):
    data = {"train": ROWS, "row_transforms": {"budgett": {}, "budget": {"limit": 3, "limits": 3}}}
    config = RunConfig.model_validate({"tasks": {"pair": {"preset": "pair", "data": data}}})
    told = "\n".join(str(problem) for problem in check(config, registry))
    assert "did you mean 'budget'" in told and "at least 8" in told and "no option 'limits'" in told


def test_a_model_keeps_them(registry, tmp_path):
    task = Task("pair", preset="pair", train=ROWS)
    model = Generalist.create(
        [task], registry=registry, hidden=32, ffn=32, heads=2, encoder_layers=1, decoder_layers=1
    )
    model.save(tmp_path / "model")
    again = Generalist.from_pretrained(tmp_path / "model", registry=registry)
    assert positions(encoded(again.assembly.encoders["pair"], ROWS[0])) <= 24
