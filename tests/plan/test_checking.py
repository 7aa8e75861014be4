"""The whole check: every mistake of a configuration against what is installed, in one go."""

from __future__ import annotations

from pathlib import Path

import pytest

from ofacore.config import Place
from ofacore.config.schema import RunConfig
from ofacore.plan.checking import check
from ofacore.plugin import (
    CONTRACT,
    Component,
    ComponentManifest,
    Option,
    Registry,
    TaskManifest,
    TaskPreset,
)
from ofacore.plugin.options import unfit
from tests.plan.toys import PICTURES, WORDS

PARTS = ComponentManifest(
    "parts",
    CONTRACT,
    (
        Component("backbone", "megatron", "x:y"),
        Component("positions", "rotary", "x:y"),
        Component("schedule", "all", "x:y", options={"shuffle": True}),
        Component("aggregator", "sum", "x:y"),
        Component("tracker", "jsonl", "x:y"),
        Component("tracker", "tensorboard", "x:y"),
        Component("transform", "lower", "x:y"),
        Component("metric", "iou", "x:y", options={"threshold": 0.5}),
    ),
)
TASKS = TaskManifest(
    "tasks",
    CONTRACT,
    (
        TaskPreset("copy", ("[WORD:a] -> [WORD:b]",), data="x:y"),
        TaskPreset("own", ("[WORD:a] ([WORD:c])? -> [WORD:b]",)),
    ),
)
REGISTRY = Registry.of(WORDS, PICTURES, PARTS, TASKS)


def found(settings: dict[str, object], **options: object) -> dict[str, str]:
    problems = check(RunConfig.model_validate(settings), REGISTRY, **options)  # type: ignore[arg-type]
    assert len({problem.path for problem in problems}) == len(problems)
    return {problem.path: f"{problem.message}; {problem.hint}" for problem in problems}


def test_a_good_run_has_no_problem(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    task = {
        "instruction": "[WORD:a] -> [WORD:b,closed_set]",
        "data": {"train": str(tmp_path / "*.csv"), "transforms": {"a": ["lower"]}},
        "metrics": [{"metric": "iou", "slot": "b", "options": {"threshold": 0.1}}],
        "closed_sets": {"b": ["x", "y"]},
        "prompt_slot": "a",
    }
    schedule = {"name": "all", "options": {"shuffle": False}}
    assert not found(
        {"tasks": {"t": task, "u": {"preset": "copy"}}, "train": {"schedule": schedule}}
    )


def test_everything_wrong_is_found_at_once(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a,b\n")
    tasks = {
        "lost": {"preset": "coppy"},
        "empty": {},
        "bare": {"preset": "own"},
        "bad": {
            "instruction": ["[WORD:a] -> [WORD:b", "[WRD:a] -> [WORD:b]"],
            "data": {"train": [{"a": "x"}]},
        },
        "uses": {
            "preset": "own",
            "data": {
                "train": str(tmp_path / "trian.csv"),
                "columns": {"d": "x"},
                "transforms": {"a": ["lowr"]},
            },
            "metrics": [
                {"metric": "acuracy", "slot": "b"},
                {"metric": "iou", "slot": "a", "options": {"treshold": 1}},
            ],
            "losses": [{"criterion": "cross_entropi", "hidden": "z"}],
            "closed_sets": {"b": str(tmp_path / "labels.txt")},
            "prompt_slot": "q",
        },
    }
    model = {
        "backbone": "megatrom",
        "positions": "rotery",
        "adapters": {"patches": {"size": 1}, "tokn": {}},
    }
    train = {"schedule": {"name": "all", "options": {"shufle": 1}}, "trackers": ["jsonl", "wandb"]}
    prefer = {"IMAGE": "picturs"}
    problems = found(
        {"tasks": tasks, "model": model, "train": train, "plugins": {"prefer": prefer}}
    )
    expected = {
        "tasks.lost.preset": "'copy'",
        "tasks.bare.data.train": "no training data",
        "tasks.empty": "no preset and no instruction",
        "tasks.bad.instruction.0": "^",
        "tasks.bad.instruction.1": "WORD",
        "tasks.uses.data.columns.d": "has no slot 'd'",
        "tasks.uses.data.transforms.a.0": "'lower'",
        "tasks.uses.data.train": "'train.csv'",
        "tasks.uses.metrics.0.metric": "'accuracy'",
        "tasks.uses.metrics.1.options.treshold": "'threshold'",
        "tasks.uses.metrics.1.slot": "no slot 'a'",
        "tasks.uses.losses.0.criterion": "'cross_entropy'",
        "tasks.uses.losses.0.hidden": "no slot 'z'",
        "tasks.uses.closed_sets.b": "no file",
        "tasks.uses.prompt_slot": "no slot 'q'",
        "model.backbone": "'megatron'",
        "model.positions": "'rotary'",
        "model.adapters.patches.size": "no option 'size'",
        "model.adapters.tokn": "'token'",
        "train.schedule.options.shufle": "'shuffle'",
        "train.trackers.1": "one of: jsonl, tensorboard",
        "plugins.prefer.IMAGE": "'pictures'",
    }
    assert {path: expected[path] in text for path, text in problems.items()} == dict.fromkeys(
        expected, True
    )


@pytest.mark.parametrize(
    ("default", "value", "expected"),
    [
        (2.0, "hot", "a number"),
        (2.0, float("nan"), "a number"),
        (2.0, 3, ""),
        (8, 2.5, "a whole number"),
        (8, True, "a whole number"),
        (8, 4.0, ""),
        (True, 1, "true or false"),
        ({}, [1], "a section with keys"),
        ((), "a", "a list"),
        ("", ["a"], "text"),
        ("", 3, ""),
        (None, ["a"], ""),
    ],
)
def test_an_option_is_of_the_kind_of_its_default(
    default: object, value: object, expected: str
) -> None:
    assert unfit(value, Option(default)) == expected


def test_options_of_another_kind_and_contradictions_are_found() -> None:
    task = {"preset": "copy", "generation": {"min_length": 9, "max_length": 3}}
    problems = found({"tasks": {"t": task}, "train": {"schedule": {"options": {"shuffle": "yes"}}}})
    assert problems.keys() == {"tasks.t.generation", "train.schedule.options.shuffle"}
    assert "min_length=9 is more than max_length=3" in problems["tasks.t.generation"]
    assert "found 'yes', expected true or false" in problems["train.schedule.options.shuffle"]
    wide = {"strategy": "diverse_beam", "beam": 4}
    mixed = found(
        {"tasks": {"t": {"preset": "copy", "generation": {"groups": 3}}}, "generation": wide}
    )
    assert mixed == {"tasks.t.generation": "beam=4 is no multiple of groups=3; "}
    table = {"generator/token": {**wide, "groups": 3}}
    assert found({"tasks": {"t": {"preset": "copy"}}, "options": table}) == mixed


def test_a_bad_instruction_is_drawn_with_its_caret() -> None:
    task = {"instruction": "[WORD:a,max_lenght=3] -> [WORD:b]", "data": {"train": [{"a": "x"}]}}
    (problem,) = check(
        RunConfig.model_validate({"tasks": {"t": task}}),
        REGISTRY,
        places={"tasks.t": Place("r.yaml", 4)},
    )
    head, *picture = str(problem).split("\n")
    assert head.startswith("r.yaml:4: tasks.t.instruction: ")
    line, caret = picture[1:3]
    assert line[caret.index("^") :].startswith("max_lenght") and "'max_length'" in picture[3]


def test_templates_that_do_not_agree_are_a_problem_of_the_task() -> None:
    settings = {
        "preset": "own",
        "data": {"train": [{}]},
        "instruction": ["[WORD:a] -> [WORD:b]", "[WORD:c] -> [WORD:b]"],
    }
    problems = found({"tasks": {"t": {**settings, "prompt_slot": "a"}}})
    assert list(problems) == ["tasks.t"] and "'a'" in problems["tasks.t"]


@pytest.mark.parametrize(
    ("columns", "path", "message"),
    [
        (["a", "b"], None, ""),
        ([], None, ""),
        (
            ["a", "bb"],
            "tasks.t.data.train",
            "reads column 'b', which is missing; did you mean 'bb'?",
        ),
        (
            ["a;b"],
            "tasks.t.data.train",
            "no column 'a', but a single one, 'a;b'; set data.delimiter: ';'",
        ),
    ],
)
def test_missing_columns_are_found_optional_ones_aside(
    columns: list[str], path: str | None, message: str
) -> None:
    task = {"preset": "own", "data": {"train": [{"a": 1}]}}
    problems = found({"tasks": {"t": task}}, columns=lambda name, split: columns)
    assert list(problems) == ([path] if path else []) and message in "".join(problems.values())


def test_a_run_without_tasks_is_a_problem() -> None:
    assert "tasks" in found({})


def test_a_column_may_be_named_for_the_references_of_a_metric():
    metric = {"metric": "iou", "slot": "label", "references": "answers"}
    columns = {"answers": "all_answers", "answer": "first"}
    task = {
        "instruction": "[WORD:text] -> [WORD:label]",
        "metrics": [metric],
        "data": {"columns": columns},
    }
    config = RunConfig.model_validate({"tasks": {"t": task}})
    found = [problem.path for problem in check(config, REGISTRY)]
    assert "tasks.t.data.columns.answer" in found
    assert "tasks.t.data.columns.answers" not in found
