"""What a user may get wrong from Python, and what is said about it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pandas
import pytest
from filelock import lock_descriptor
from rich.console import Console

from ofacore import Generalist, Task
from ofacore.checkpoint import find_latest, step_folder
from ofacore.components.trackers import Jsonl
from ofacore.config.schema import RunConfig
from ofacore.ground.errors import UserError
from ofacore.ground.folders import check_free, check_place, check_writable, claimed
from ofacore.plan.planned_run import PlannedRun
from ofacore.plugin import Registry
from ofacore.runs.inspection import check_file
from ofacore.runs.train_run import changed_keys, train_run
from ofacore.setup.run_check import checked_run, read_checked
from ofacore.sources.data_errors import EncodeError

SMALL: dict[str, Any] = {
    "preset": "tiny",
    "hidden": 32,
    "ffn": 64,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "heads": 2,
}
TEXT = "[TEXT:a] -> [TEXT:b]"
ROWS = [{"a": f"cat {i}", "b": f"dog {i}"} for i in range(6)]
METRICS = [{"metric": "exact_match", "slot": "b"}]


@pytest.fixture(scope="module")
def model() -> Generalist:
    return Generalist.create([Task("t", TEXT, train=ROWS, test=ROWS, metrics=METRICS)], **SMALL)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"wieght": 3}, "did you mean 'weight'?"),
        ({"weight": "x"}, "weight: found"),
        ({"data": {"trian": ROWS}}, "did you mean 'train'?"),
        ({"data": ROWS}, "give rows as train="),
        ({"metrics": ["accuracy"]}, "metrics.0"),
    ],
)
def test_options_of_a_task_are_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match="task 't'") as caught:
        Task("t", TEXT, **options)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["", " ", "a/b"])
def test_a_task_needs_a_name(name: str) -> None:
    with pytest.raises(UserError, match="no name for a task"):
        Task(name, TEXT, train=ROWS)


@pytest.mark.parametrize(
    ("task", "sizes", "said"),
    [
        ({"train": []}, {}, "there are no rows"),
        ({"valid": [None]}, {}, "rows[0]: a NoneType, but a row is a dictionary"),
        ({"columns": {"a": "zz"}}, {}, "column 'zz'"),
        ({"metrics": [{"metric": "exact_mach", "slot": "b"}]}, {}, "did you mean 'exact_match'?"),
        ({}, {"hidden": 33}, "multiple of 2"),
        ({}, {"preset": "tinny"}, "did you mean 'tiny'?"),
        ({}, {"hiden": 32}, "did you mean 'hidden'?"),
    ],
)
def test_creation_checks_everything_first(
    task: dict[str, Any], sizes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError) as caught:
        Generalist.create([Task("t", TEXT, **{"train": ROWS, **task})], **{**SMALL, **sizes})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stratgy": "beam"}, "did you mean 'strategy'?"),
        ({"strategy": "bem"}, "did you mean 'beam'?"),
        ({"beam": 0}, "expected 1 to 1000; generator 'token' has 5"),
        ({"top_p": 2.0}, "at most 1"),
        ({"must_contain": "abc"}, "expected a list"),
        ({"min_length": 9, "max_length": 3}, "more than max_length=3"),
        ({"strategy": "diverse_beam", "beam": 4, "groups": 3}, "no multiple of groups=3"),
        ({"want": ["zz"]}, "no target slot 'zz'"),
        ({"closed_set": {"z": ["u"]}}, "no target slot 'z'"),
        ({"closed_set": {"b": "uv"}}, "expected a list of values"),
        ({"batch_size": 0}, "at least one row"),
    ],
)
def test_options_of_inference_are_checked(
    model: Generalist, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError) as caught:
        model.infer("t", {"a": "x"}, **options)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "said"), [("x", "row 0: a str"), ([{"a": "x"}, 5], "row 1: a int")]
)
def test_what_is_no_row_is_named(model: Generalist, rows: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        model.infer("t", rows)


def test_an_instruction_without_a_target_has_no_answer(model: Generalist) -> None:
    with pytest.raises(
        UserError, match=r"has no target, so there is nothing to answer; encode\(\)"
    ):
        model.infer("[TEXT:a] ->", {"a": "x"})


def test_a_run_is_found_from_within_its_folder(
    model: Generalist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.save(tmp_path / "saved")
    monkeypatch.chdir(tmp_path / "saved")
    for place in (".", "../saved"):
        assert Generalist.from_pretrained(place).tasks == ("t",)
    with pytest.raises(UserError):
        Generalist.from_pretrained("..")


def test_an_output_says_why_it_cannot_be_saved(model: Generalist, tmp_path: Path) -> None:
    out = model.infer("t", {"a": "x"}, max_length=2)
    for path in (tmp_path / "o.wav", tmp_path / "nowhere" / "o.txt"):
        with pytest.raises(UserError, match="cannot be saved as"):
            out.save(path)


def test_rows_of_a_loaded_model_are_given_again(model: Generalist, tmp_path: Path) -> None:
    model.save(tmp_path / "saved")
    loaded = Generalist.from_pretrained(tmp_path / "saved")
    with pytest.raises(UserError, match=r"data=\{'t': rows\}"):
        loaded.evaluate()
    scores = loaded.evaluate(data={"t": ROWS[:3]}, max_length=2)
    assert [row.samples for row in scores] == [3]
    with pytest.raises(UserError, match="no split 'tset'"):
        loaded.evaluate(split="tset")
    with pytest.raises(UserError, match="latest and best"):
        Generalist.from_pretrained(tmp_path / "saved-as-run", which="bst")


def test_a_failed_fit_leaves_the_settings_as_they_were(model: Generalist, tmp_path: Path) -> None:
    before = model.assembly.config
    rules = {"rules": [{"pattern": "zzz", "freeze": True}]}
    with pytest.raises(UserError, match="matches no parameter"):
        model.fit(
            steps=1, out=tmp_path / "run", precision="fp32", optimizer={"name": "adamw", **rules}
        )
    assert model.assembly.config is before and not (tmp_path / "run").exists()


def test_held_out_rows_that_cannot_be_read_are_left_out(model: Generalist, tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("a,b\ncat 1,dog 1\nlonely\ncat 2,dog 2\n")
    assert [
        row.samples for row in model.evaluate(data={"t": str(tmp_path / "test.csv")}, max_length=2)
    ] == [2]


def test_problems_of_schema_plan_and_data_come_together(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,c\nx,y\n")
    (tmp_path / "run.yaml").write_text(
        f"nmae: x\ntasks:\n  t: {{instruction: '{TEXT}', data: {{train: {tmp_path}/rows.csv}}}}\n"
        "  u: {preset: digts}\nmodel: {preset: tinny}\ntrain: {steps: -1, optimizer: {rules: [{pattern: '('}]}}\n"
    )
    with pytest.raises(UserError) as caught:
        read_checked([str(tmp_path / "run.yaml")])
    for part in (
        "'name'",
        "column 'b'",
        "'digits'",
        "'tiny'",
        "train.steps",
        "a regular expression",
    ):
        assert part in str(caught.value), part


def test_a_bad_row_is_placed_once(tmp_path: Path) -> None:
    lines = [json.dumps({"a": "x", "b": "y"}), "{broken", json.dumps({"a": "x"})]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    report = check_file(tmp_path / "rows.jsonl", TEXT)
    assert [row.row_id.rpartition(":")[2] for row in report.bad] == ["2", "3"]
    assert report.bad[0].reason.startswith("not JSON") and report.bad[1].reason.startswith(
        "column 'b'"
    )


def test_a_file_without_rows_is_no_good_file(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n")
    with pytest.raises(UserError, match="has no rows"):
        check_file(tmp_path / "rows.csv", TEXT)


def test_places_are_checked_before_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check_writable(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()
    with pytest.raises(UserError, match="is a file"):
        check_writable(tmp_path / "file" / "run")
    for place in (tmp_path / "new" / "page.html", tmp_path):
        with pytest.raises(UserError):
            check_place(place)


def test_a_folder_in_use_is_refused_and_free_again_afterwards(
    tmp_path: Path, model: Generalist
) -> None:
    with (
        claimed(tmp_path),
        pytest.raises(UserError, match="is in use: another run is training in it"),
    ):
        model.fit(steps=1, samples=4, out=tmp_path)
    assert not any(tmp_path.iterdir())
    assert model.fit(steps=1, samples=4, out=tmp_path) == tmp_path


def test_processes_may_look_at_a_folder_at_once(tmp_path: Path) -> None:
    looking = os.open(tmp_path, os.O_RDONLY)
    assert lock_descriptor(looking, blocking=False)  # as `check_free` does for a moment
    threading.Timer(0.1, os.close, (looking,)).start()
    check_free(tmp_path)
    with claimed(tmp_path), pytest.raises(UserError, match="is in use"):
        check_free(tmp_path)


def test_where_folders_cannot_be_opened_a_file_in_them_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(path: Path, flags: int, plain: Callable[..., int] = os.open) -> int:
        if path.is_dir():
            raise PermissionError(13, "Permission denied", str(path))  # as on Windows
        return plain(path, flags)

    monkeypatch.setattr("ofacore.ground.folders.os.open", opened)
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    check_free(old)
    assert not any(old.iterdir())
    for folder in (old, new):
        with claimed(folder), pytest.raises(UserError, match="is in use"):
            check_free(folder)
        check_free(folder)
    assert not new.exists()


def test_a_checkpoint_without_a_state_of_training_is_named(
    tmp_path: Path, model: Generalist
) -> None:
    model.save(step_folder(tmp_path, 1))
    with pytest.raises(
        UserError, match=r"step-000001: holds no state of a training run .*begin a new run"
    ):
        model.fit(steps=2, samples=4, out=tmp_path, resume=True)


def test_metrics_with_lines_of_another_kind_do_not_stop_a_resumed_run(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n\xff\x00\n{"step": 9}\n{"st')
    Jsonl(tmp_path, {"resume_step": 4})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n'


@pytest.mark.parametrize("rows", [None, 3, "red"])
def test_what_is_no_row_is_refused(model: Generalist, rows: Any) -> None:
    with pytest.raises(UserError, match="row"):
        model.infer("t", rows)


def test_a_metric_of_single_values_names_one_for_repeats() -> None:
    rows = [{"a": ["x", "y"], "b": ["u", "v"]}]
    metrics = [{"metric": "accuracy", "slot": "b"}]
    task = Task("t", "([TEXT:a])* -> ([TEXT:b])*", train=rows, test=rows, metrics=metrics)
    with pytest.raises(UserError, match="lists of TEXT values .* such as 'multilabel_f1'"):
        Generalist.create([task], **SMALL)


def test_weights_for_other_programs_are_told_from_a_model(tmp_path: Path) -> None:
    (tmp_path / "ofacore.json").write_text("{}")
    with pytest.raises(UserError, match="exported for other programs; .ofa export --format ofa"):
        Generalist.from_pretrained(tmp_path)


def test_a_data_frame_gives_its_rows(model: Generalist) -> None:
    frame = pandas.DataFrame({"a": ["x", "y"]}, index=[7, 9])
    found = [output["b"] for output in model.infer("t", frame)]
    assert found == [output["b"] for output in model.infer("t", [{"a": "x"}, {"a": "y"}])]
    with pytest.raises(EncodeError, match="row 0, column 'a': .*needs a value"):
        model.infer("t", pandas.DataFrame({"a": [float("nan")]}))


def test_low_rank_updates_of_nothing_are_refused() -> None:
    with pytest.raises(UserError, match=r"model.lora.targets: no linear matches \['nosuch'\]"):
        Generalist.create(
            [Task("t", TEXT, train=ROWS)], lora={"rank": 2, "targets": ["nosuch"]}, **SMALL
        )


def checked(config: RunConfig) -> PlannedRun:
    return checked_run(config, Registry.discover())


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_run_ended_by_a_signal_is_saved_and_exits_as_shells_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n" + "".join(f"x{i},y{i}\n" for i in range(8)))
    task = {"instruction": TEXT, "data": {"train": str(tmp_path / "rows.csv")}}
    config = RunConfig.model_validate(
        {"tasks": {"t": task}, "model": SMALL, "train": {"steps": 50, "samples": 4}}
    )
    monkeypatch.setattr("ofacore.training.loop.stop_reason", lambda reason: name)
    with pytest.raises(SystemExit) as caught:
        train_run(checked(config), folder=tmp_path / "run", console=Console(file=StringIO()))
    assert caught.value.code == code and find_latest(tmp_path / "run") is not None


def test_what_a_resumed_run_keeps_is_named(model: Generalist) -> None:
    config = model.assembly.config
    wider = config.model_copy(update={"model": config.model.model_copy(update={"hidden": 64})})
    assert changed_keys(config, wider) == ["model.hidden"] and changed_keys(config, config) == []


def test_a_resumed_run_keeps_its_tasks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n" + "".join(f"x{i},y{i}\n" for i in range(8)))
    data = {"train": str(tmp_path / "rows.csv"), "valid": str(tmp_path / "rows.csv")}
    sizes = {"hidden": 32, "ffn": 64, "encoder_layers": 1, "decoder_layers": 1, "heads": 2}
    train = {"steps": 1, "precision": "fp32", "threads": 1, "samples": 4, "trackers": []}
    configs = [
        RunConfig.model_validate(
            {"tasks": {name: {"instruction": TEXT, "data": data}}, "model": sizes, "train": train}
        )
        for name in "tu"
    ]
    train_run(checked(configs[0]), folder=tmp_path / "run", console=Console(file=StringIO()))
    told = StringIO()
    train_run(checked(configs[0]), folder=tmp_path / "run", resume=True, console=Console(file=told))
    assert "going on from step-000001" in told.getvalue()
    assert "task 't': valid and train are the same data" in caplog.text
    with pytest.raises(UserError, match="the run began with tasks t, the configuration has u"):
        train_run(
            checked(configs[1]),
            folder=tmp_path / "run",
            resume=True,
            console=Console(file=StringIO()),
        )


def test_a_file_that_cannot_be_read_is_the_only_problem(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError) as caught:
        read_checked([str(tmp_path / "run.yaml")])
    assert "run.yaml is no text: byte 0 is not UTF-8" in str(caught.value)
    assert "no task" not in str(caught.value) and "did you mean" not in str(caught.value)


def test_rows_in_the_place_of_a_task_are_told(model):
    for call in (model.evaluate, model.only):
        with pytest.raises(UserError, match="expected names of tasks; .* data={task: rows}"):
            call({"t": ROWS})
    by_list, by_name = (model.evaluate(asked, max_length=2) for asked in (["t"], "t"))
    assert [row.task for row in by_list] == [row.task for row in by_name] == ["t"]


def test_a_run_that_goes_on_without_one_of_its_tasks_is_told(tmp_path, caplog):
    tasks = [Task(name, TEXT, train=ROWS) for name in ("here", "left")]
    model = Generalist.create(tasks, **SMALL)
    quick = {"samples": 4, "trackers": (), "precision": "fp32", "threads": 1}
    model.fit(1, out=tmp_path, **quick)
    again = Generalist.from_pretrained(tmp_path)
    again.fit(2, out=tmp_path, resume=True, data={"here": ROWS}, **quick)
    assert "task 'left' was trained until here, and is not from now on" in caplog.text
    assert "task 'here' was" not in caplog.text
