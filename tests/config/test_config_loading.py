"""Files, includes, overrides, the task "*", references: what a run ends up with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ofacore.config import ConfigError, load, read, show, starter_config
from ofacore.config.schema import RunConfig
from ofacore.plugin import CONTRACT, Registry, TaskManifest, TaskPreset


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def problems(sources: list[Path], overrides: list[str] | None = None) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        load(sources, overrides or [])
    return {problem.path: str(problem) for problem in caught.value.problems}


def test_nothing_is_the_default_run() -> None:
    assert load([]) == RunConfig()


def test_later_files_win_key_by_key_and_lists_are_replaced(tmp_path: Path) -> None:
    first = write(tmp_path, "a.yaml", "train: {steps: 5, seed: 7, trackers: [jsonl, wandb]}")
    second = write(tmp_path, "b.yaml", "train: {steps: 9, trackers: [jsonl]}")
    train = load([first, second]).train
    assert (train.steps, train.seed, train.trackers) == (9, 7, ("jsonl",))


def test_includes_lie_below_and_are_found_beside_the_file(tmp_path: Path) -> None:
    write(tmp_path, "parts/base.yaml", "_include: [deeper/model.yaml]\ntrain: {steps: 1, seed: 3}")
    write(tmp_path, "parts/deeper/model.yaml", "model: {hidden: 32}\ntrain: {steps: 0}")
    run = load([write(tmp_path, "run.yaml", "_include: [parts/base.yaml]\ntrain: {steps: 2}")])
    assert (run.train.steps, run.train.seed, run.model.hidden) == (2, 3, 32)


def test_an_include_that_leads_back_is_reported(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "_include: [b.yaml]")
    write(tmp_path, "b.yaml", "_include: [a.yaml]")
    assert "includes itself" in problems([tmp_path / "a.yaml"])["_include"]


@pytest.mark.parametrize(
    ("override", "value"),
    [("false", False), ("true", True), ("no", False), ("0", False)],
)
def test_a_true_boolean_can_be_overridden(override: str, value: bool) -> None:
    assert load([], [f"train.packing={override}"]).train.packing is value


def test_overrides_reach_into_lists_and_later_ones_win(tmp_path: Path) -> None:
    run = write(
        tmp_path,
        "a.yaml",
        "tasks: {t: {preset: p, metrics: [{metric: a, slot: x}, {metric: b, slot: x}]}}",
    )
    metrics = (
        load([run], ["tasks.t.metrics.1.slot=y", "tasks.t.metrics.1.slot=z"]).tasks["t"].metrics
    )
    assert [metric.slot for metric in metrics] == ["x", "z"]


def test_an_instruction_can_be_an_override() -> None:
    run = load(
        [],
        ["tasks.t.instruction=[A:x] what: -> [B:y]", "train.trackers=[]", "train.checkpoint.best="],
    )
    assert run.tasks["t"].instruction == "[A:x] what: -> [B:y]"
    assert run.train.trackers == () and run.train.checkpoint.best == ""


@pytest.mark.parametrize(
    ("override", "path", "message"),
    [
        ("train.steps", "train.steps", "expected key=value"),
        ("train.steps.x=1", "train.steps.x", "has no key 'x'"),
        ("tasks.t.metrics.5.slot=y", "tasks.t.metrics.5.slot", "is a list of 1"),
        ("train.trackers=[a", "train.trackers", "put the value into quotes"),
        ("train..steps=1", "train..steps", "expected key=value"),
        ("train.steps=99999999999999999999", "train.steps", "expected at most 1e+12"),
        ("train.optimizer.betas=[2, 0.9]", "train.optimizer.betas.0", "expected less than 1"),
        ("out='runs/{nme}'", "out", "{name} and nothing else"),
        ("out=''", "out", "expected a folder"),
        ("tasks.t.data.delimiter=ab", "tasks.t.data.delimiter", "found"),
    ],
)
def test_a_bad_override_names_itself(
    tmp_path: Path, override: str, path: str, message: str
) -> None:
    run = write(
        tmp_path,
        "a.yaml",
        "train: {steps: 1}\ntasks: {t: {preset: p, metrics: [{metric: a, slot: x}]}}",
    )
    found = problems([run], [override])
    assert message in found[path] and f"--set {override}" in found[path]


def test_the_star_gives_defaults_to_all_tasks_overrides_included(tmp_path: Path) -> None:
    run = write(
        tmp_path,
        "a.yaml",
        'tasks: {"*": {weight: 2, data: {header: false}}, a: {preset: p}, b: {preset: p, weight: 5}}',
    )
    tasks = load([run], ["tasks.*.data.names=[x]"]).tasks
    assert list(tasks) == ["a", "b"]
    assert [(t.weight, t.data.header, t.data.names) for t in tasks.values()] == [
        (2, False, ("x",)),
        (5, False, ("x",)),
    ]


def test_a_later_file_or_an_override_takes_a_task_out(tmp_path: Path) -> None:
    first = write(tmp_path, "a.yaml", "tasks: {a: {preset: p}, b: {preset: p}, c: {preset: p}}")
    second = write(tmp_path, "b.yaml", "tasks: {a: null}")
    assert list(load([first, second], ["tasks.c=null"]).tasks) == ["b"]


def test_every_problem_is_reported_at_once_with_place_and_way_out(tmp_path: Path) -> None:
    text = """train:
  stepps: 3
  samples: -1
  precision: bf61
  lr: {warmup: often}
  optimizer: {betas: [1, 2, 3]}
modle: {}
name: 2024
tasks:
  cap:
    losses: [{criterion: c}]
    instruction: [[a, x]]
"""
    path = write(tmp_path, "run.yaml", text)
    found = problems([path], ["train.seed=x", "model.norm=sideways"])
    assert found == {
        "train.stepps": f"{path}:2: train.stepps: unknown key 'stepps'; did you mean 'steps'?",
        "train.samples": f"{path}:3: train.samples: found -1, expected more than 0",
        "train.precision": f"{path}:4: train.precision: found \"bf61\", expected 'auto', 'bf16' or 'fp32'; "
        "did you mean 'bf16'?",
        "train.lr.warmup": f'{path}:5: train.lr.warmup: found "often", expected a valid integer or a valid number',
        "train.optimizer.betas": f"{path}:6: train.optimizer.betas: found [1, 2, 3], expected at most 2 entries",
        "modle": f"{path}:7: modle: unknown key 'modle'; did you mean 'model'?",
        "name": f"{path}:8: name: found 2024, expected text; put it into quotes",
        "tasks.cap.losses.0.hidden": f"{path}:11: tasks.cap.losses.0.hidden: this key is required",
        "tasks.cap.instruction.0.1": f'{path}:12: tasks.cap.instruction.0.1: found "x", expected a valid number',
        "train.seed": '--set train.seed=x: train.seed: found "x", expected a valid integer',
        "model.norm": "--set model.norm=sideways: model.norm: found \"sideways\", expected 'pre' or 'post'",
    }


TRUTH = """tasks:
  cap: {weight: true, class_weights: {c: {a: false}}}
train:
  steps: true
  lr: {warmup: false}
  optimizer: {betas: [true, 0.9]}
model: {hidden: true, qk_norm: true}
"""


def test_a_truth_value_is_no_number(tmp_path: Path) -> None:
    path = write(tmp_path, "run.yaml", TRUTH)
    expected = {
        "tasks.cap.weight": f"{path}:2: tasks.cap.weight: found true, expected a number",
        "tasks.cap.class_weights.c.a": f"{path}:2: tasks.cap.class_weights.c.a: found false, expected a number",
        "train.steps": f"{path}:4: train.steps: found true, expected a number",
        "train.lr.warmup": f"{path}:5: train.lr.warmup: found false, expected a number",
        "train.optimizer.betas.0": f"{path}:6: train.optimizer.betas.0: found true, expected a number",
        "model.hidden": f"{path}:7: model.hidden: found true, expected a number",
    }
    assert problems([path]) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2", "this is not YAML"),
        ("a: 1\nb: [1,\nc: 2", "in what begins in line 2"),
        ("tasks:\n\tcap: 1", "by blanks, not by tabs"),
        ("instruction: [TEXT:a] -> [TEXT:b]", "an instruction stands in quotes"),
        ("- 1", "found a list"),
        ("train: {steps: 1}\ntrain: {steps: 2}", "stands in line 1 already"),
        ("train: !!python/object:os.system {}", "the tag"),
        ("train: &t\n  steps: *t", "contains itself"),
        ("? [a, b]\n: 3", "a key is a single word"),
    ],
)
def test_a_broken_file_is_reported_with_its_name(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, "run.yaml", text)
    found = "\n".join(problems([path]).values())
    assert message in found and "run.yaml" in found


def test_a_file_that_is_no_text_names_no_other_one(tmp_path: Path) -> None:
    write(tmp_path, "runs.yaml", "")
    (tmp_path / "run.yaml").write_bytes(b"name: \xff")
    found = problems([tmp_path / "run.yaml"])[""]
    assert "run.yaml is no text: byte 6 is not UTF-8" in found and "did you mean" not in found


def test_a_missing_file_names_a_near_one(tmp_path: Path) -> None:
    write(tmp_path, "caption.yaml", "")
    assert "did you mean 'caption.yaml'?" in problems([tmp_path / "captoin.yaml"])[""]


def test_scalars_are_read_as_yaml_1_2(tmp_path: Path) -> None:
    text = "model: {options: {a: no, b: 1e-3, c: 2024-01-31, d: 1:30, e: 010, f: null, g: true, h: 0x1f, i: .5}}"
    options = load([write(tmp_path, "a.yaml", text)]).model.options
    assert options == {
        "a": "no",
        "b": 0.001,
        "c": "2024-01-31",
        "d": "1:30",
        "e": "010",
        "f": None,
        "g": True,
        "h": 31,
        "i": 0.5,
    }


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    text = "tasks:\n  a: &a {preset: p, weight: 2}\n  b: {<<: *a, weight: 3}\n  c: *a"
    assert [task.weight for task in load([write(tmp_path, "a.yaml", text)]).tasks.values()] == [
        2,
        3,
        2,
    ]


def test_aliases_of_aliases_end_before_memory_does(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    found = problems([write(tmp_path, "a.yaml", "\n".join(lines))])
    assert "aliases stand for more than 10,000 values" in "\n".join(found.values())


def test_places_of_values_outlive_loading(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", 'tasks:\n  "*":\n    weight: 2\n  a:\n    preset: p')
    places = read([path], ["train.steps=1"]).places
    assert (
        str(places["tasks.a.weight"]) == f"{path}:3"
        and str(places["tasks.a.preset"]) == f"{path}:5"
    )
    assert str(places["train.steps"]) == "--set train.steps=1"


PRESETS = TaskManifest(
    "toys",
    CONTRACT,
    (
        TaskPreset("one", ("[A:x] -> [B:y]",), data="m:f", starter=True),
        TaskPreset("two", ("[A:x] -> [B:y]",), data="m:f"),
        TaskPreset("three", ("[A:x] -> [B:y]",)),
    ),
)


def test_the_starter_takes_the_presets_that_are_installed() -> None:
    registry = Registry.of(PRESETS)
    starter, everything = starter_config(registry), starter_config(registry, everything=True)
    assert {name: task.preset for name, task in starter.tasks.items()} == {"one": "one"}
    assert list(everything.tasks) == ["one", "two"]
    assert everything.train.steps > starter.train.steps


def test_the_word_starter_is_a_source_like_others(tmp_path: Path) -> None:
    over = write(tmp_path, "a.yaml", "tasks: {mine: {preset: three}}")
    run = load(["starter", over], ["train.steps=3", "tasks.one.weight=2"], Registry.of(PRESETS))
    assert (
        list(run.tasks) == ["one", "mine"] and run.train.steps == 3 and run.tasks["one"].weight == 2
    )


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12) | st.sampled_from(
    [
        "\r",
        "a\x85b",
        "a\u2028",
        "\ufeff",
        "\x00",
        "${a}",
        "1e-3",
        "yes",
        "null",
        "010",
        "~",
        "",
        " x ",
        "2024-01-31",
        "a: b",
        "# c",
        "[x",
    ]
)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@given(
    options=st.dictionaries(TEXTS, PLAIN, max_size=4),
    name=TEXTS,
    steps=st.integers(0, 9),
)
@settings(deadline=None, max_examples=60)
def test_what_show_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, options: dict[str, Any], name: str, steps: int
) -> None:
    run = RunConfig.model_validate(
        {"name": name, "model": {"options": options}, "train": {"steps": steps}}
    )
    for defaults in (True, False):
        path = write(tmp_path_factory.getbasetemp(), "shown.yaml", show(run, defaults=defaults))
        again = load([path])
        assert again == run
        if not defaults:
            assert again.model_fields_set == run.model_fields_set


def test_a_run_whose_length_is_told_in_epochs_is_read_back(tmp_path: Path) -> None:
    run = RunConfig.model_validate({"train": {"epochs": 2}})
    path = write(tmp_path, "shown.yaml", show(run))
    assert load([path]) == run


def test_show_gives_every_default() -> None:
    shown = yaml.safe_load(show(RunConfig()))
    assert shown["train"]["checkpoint"]["keep_last"] == 2 and set(shown) == set(
        RunConfig.model_fields
    )


def test_rows_given_in_python_are_shown_by_type() -> None:
    run = RunConfig.model_validate({"tasks": {"t": {"preset": "p", "data": {"train": object()}}}})
    assert "<object>" in show(run)
