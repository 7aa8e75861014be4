"""``ofa train own.yaml --from RUN``: what is new joins a run's model, and the run stays as it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from ofa_cli.main import main
from ofacore import Generalist
from ofacore.generalist.storing import convert
from ofacore.ground.errors import UserError
from ofacore.plan import TaskPlan
from ofacore.plugin import Registry
from ofacore.runs.extended_run import begin, read_extension
from ofacore.runs.model_parts import parts_of
from ofacore.runs.train_run import train_run
from ofacore.setup.datasets import TaskRows, open_task
from ofacore.setup.run_check import read_checked
from tests.generalist.growing import ROWS, logits

TEXTS = [{key: row[key] for key in ("a", "b", "kind")} for row in ROWS]
OLD: dict[str, Any] = {
    "model": {
        "hidden": 32,
        "ffn": 64,
        "heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "dropout": 0.0,
    },
    "train": {
        "steps": 2,
        "samples": 8,
        "trackers": ["jsonl"],
        "threads": 1,
        "precision": "fp32",
        "checkpoint": {"every": 1},
    },
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two tasks in ``old``, rows beside it."""
    folder = tmp_path_factory.mktemp("from")
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in TEXTS))
    tasks = {
        "shout": task(folder, "louder: [TEXT:a] -> [TEXT:b,max_length=3]", "b"),
        "hush": task(folder, "quiet: [TEXT:b] -> [TEXT:a,max_length=3]", "a"),
    }
    train_run(read_checked([write(folder, "old", {**OLD, "tasks": tasks})]), console=silent())
    return folder


def silent() -> Console:
    return Console(file=StringIO(), width=80)


def task(folder: Path, line: str, slot: str) -> dict[str, Any]:
    rows = str(folder / "rows.jsonl")
    metrics = [{"metric": "accuracy", "slot": slot}]
    return {"instruction": line, "data": {"train": rows, "test": rows}, "metrics": metrics}


def write(folder: Path, name: str, config: dict[str, Any]) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps({**config, "out": str(folder / name)}))
    return str(path)


def own(folder: Path, **more: Any) -> str:
    """A file of what is new."""
    line = "which kind is [TEXT:a]? -> [CATEGORY:kind]"
    return write(folder, "own", {"tasks": {"sort": task(folder, line, "kind")}, **more})


def started(place: Path, file: str, *overrides: str, resume: bool = False) -> str:
    """Train; what was printed."""
    run, extension = read_extension([file], overrides, place / "old")
    console = silent()
    train_run(run, extension=extension, resume=resume, console=console)
    assert isinstance(console.file, StringIO)
    return " ".join(console.file.getvalue().split())


def contents(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_length_of_a_new_run_may_be_said_in_passes(place: Path) -> None:
    run, _ = read_extension([own(place)], ["train.epochs=2"], place / "old")
    assert run.config.train.epochs == 2 and "steps" not in run.config.train.model_fields_set
    run, _ = read_extension([own(place)], [], place / "old")
    assert run.config.train.steps == 2


def test_what_is_new_joins_what_is_kept_is_trained_and_the_run_stays(place: Path) -> None:
    before = contents(place / "old")
    told = started(place, own(place, keep=["shout"]), "train.steps=1")
    assert contents(place / "old") == before
    for line in ("shout kept", "hush left", "sort new"):
        assert line in told
    assert "tokens category:6 192 new" in told and " shared" in told
    changed = told.partition("what old tasks lost or won")[2]
    assert "shout" in changed and "hush" in changed
    metrics = (place / "own" / "metrics.jsonl").read_text()
    assert "train/sort/kind" in metrics and "train/shout/b" in metrics and "hush" not in metrics
    model = Generalist.from_pretrained(place / "own")
    assert model.tasks == ("shout", "hush", "sort")
    config = model.assembly.config.train
    assert (config.steps, config.samples, config.trackers) == (1, 8, ("jsonl",))
    more = started(place, own(place, keep=["shout"]), resume=True)
    assert "what old tasks lost or won" in more
    assert (place / "own" / "checkpoints" / "step-000002").is_dir()


def test_a_run_without_an_optional_task_whose_data_are_gone_goes_on(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    presets = Registry.discover().presets().values()
    preset = next(each.name for each in presets if each.data)

    def opened(plan: TaskPlan, *rest: Any) -> TaskRows:
        if plan.name == "gone":
            raise UserError("the source is not there")
        return open_task(plan, *rest)

    monkeypatch.setattr("ofacore.setup.datasets.open_task", opened)
    gone = {"preset": preset, "data": {"optional": True}}
    sort = task(place, "which kind is [TEXT:a]? -> [CATEGORY:kind]", "kind")
    file = write(place, "optional", {"tasks": {"gone": gone, "sort": sort}})
    started(place, file, "train.steps=1")
    started(place, file, resume=True)
    assert (place / "optional" / "checkpoints" / "step-000002").is_dir()
    assert Generalist.from_pretrained(place / "optional").tasks == ("shout", "hush", "sort")


def test_before_the_first_step_every_old_task_says_the_same(place: Path) -> None:
    run, extension = read_extension([own(place)], [], place / "old")
    grown, old = begin(extension, run), Generalist.from_pretrained(place / "old")
    assert set(grown.data) == {"sort"} and set(grown.aside) == {"shout", "hush"}
    for name in old.tasks:
        assert torch.equal(logits(old, name), logits(grown, name))


def test_passes_over_the_rows_take_the_place_of_the_steps_of_the_run(place: Path) -> None:
    run, _ = read_extension([own(place, train={"epochs": 2})], [], place / "old")
    assert run.config.train.epochs == 2 and "steps" not in run.config.train.model_fields_set
    run, _ = read_extension([own(place, train={"samples": 4})], [], place / "old")
    assert (run.config.train.steps, run.config.train.samples) == (2, 4)


def test_of_a_kept_task_one_key_of_its_data_is_set_anew(place: Path) -> None:
    (place / "more.jsonl").write_text("\n".join(json.dumps(row) for row in TEXTS[:2]))
    more = str(place / "more.jsonl")
    run, _ = read_extension(
        [own(place, keep=["shout"])], [f"tasks.shout.data.train={more}"], place / "old"
    )
    kept = run.config.tasks["shout"].data
    assert (kept.train, kept.test) == (more, str(place / "rows.jsonl"))


def test_a_rule_freezes_what_the_model_knew(place: Path) -> None:
    file = own(place, train={"optimizer": {"rules": [{"pattern": "^backbone", "freeze": True}]}})
    run, extension = read_extension([file], [], place / "old")
    grown = begin(extension, run)
    states = {part.name: part.state for part in parts_of(grown, extension.model.weights)}
    assert (states["backbone"], states["tokens category:6"]) == ("frozen", "new")
    grown.fit(1, out=place / "frozen")
    before = Generalist.from_pretrained(place / "old").model.portable_state()
    after = grown.model.portable_state()
    kept = [name for name in before if name.startswith("backbone.")]
    assert kept and all(torch.equal(before[name], after[name]) for name in kept)


def test_a_model_without_small_parts_gets_some_and_keeps_the_rest(place: Path) -> None:
    small = {"lora": {"rank": 2, "per": "task"}, "prefix": {"length": 2}}
    run, extension = read_extension([own(place, model=small, keep="all")], [], place / "old")
    grown = begin(extension, run)
    grown.fit(1, out=place / "small")
    before = Generalist.from_pretrained(place / "old").model.portable_state()
    after = Generalist.from_pretrained(place / "small").model.portable_state()
    assert all(torch.equal(before[name], after[name]) for name in before)
    added = [name for name in after if ".low_rank." in name or ".prefix." in name]
    assert any("each.sort." in name for name in added) and not set(added) & set(before)
    more = own(place, model={"prefix": {"length": 4}}, keep="all", tasks={})
    with pytest.raises(UserError, match="model.prefix: found .*, but the model .* has"):
        read_extension([more], [], place / "small")


@pytest.mark.parametrize(
    ("more", "overrides", "said"),
    [
        (
            {"model": {"hidden": 64}},
            [],
            "own.yaml:1: model.hidden: found 64, but the model .* has 32",
        ),
        ({"model": {"tied_head": False}}, [], "tied_head: found False, but the model .* has True"),
        ({"model": {"positions": "untied"}}, [], "found 'untied', but the model .* has 'rotary'"),
        (
            {"options": {"preprocessor/text": {"tokenizer": "other.json"}}},
            [],
            "text.tokenizer: found 'other.json', but the model .* has ''",
        ),
        ({"keep": ["shot"]}, [], "keep: the model has no task 'shot'; did you mean 'shout'"),
        ({"tasks": {"shout": {"instruction": "-> [TEXT:a]"}}}, [], "a task of that name already"),
        ({"tasks": {}}, [], "there is no task to train"),
        ({}, ["out=old"], "never written to; name another folder with --out"),
        ({}, ["tasks.sort.instruction=[TEXT:a] -> [CATEGRY:kind]"], "CATEGRY"),
    ],
)
def test_what_asks_for_another_model_is_refused_before_anything_starts(
    place: Path, more: dict[str, Any], overrides: Sequence[str], said: str
) -> None:
    overrides = [each.replace("out=old", f"out={place / 'old'}") for each in overrides]
    with pytest.raises(UserError, match=said):
        read_extension([own(place, **more)], overrides, place / "old")


def test_a_file_of_what_is_new_is_checked(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = own(place, keep=["shout"])
    told = []
    for more in ([], ["--from", str(place / "old")]):
        with pytest.raises(SystemExit) as ended:
            main(["config", "check", file, *more])
        assert not ended.value.code
        told.append(capsys.readouterr().out.replace("\n", " "))
    assert told[0].startswith("ok: 1 task; what it keeps") and "--from RUN" in told[0]
    assert "sort joins; shout kept; hush left" in told[1]
    with pytest.raises(SystemExit) as ended:
        main(["config", "check", own(place, keep=["shot"]), "--from", str(place / "old")])
    assert ended.value.code == 2 and "did you mean 'shout'" in capsys.readouterr().err


def test_a_checkpoint_whose_plugin_is_missing_is_refused(place: Path) -> None:
    state = next((place / "old" / "checkpoints").glob("step-*")) / "state.json"
    before = state.read_text()
    state.write_text(
        before.replace("TEXT", "TAXT").replace("ofa-modality-text", "ofa-modality-taxt")
    )
    try:
        with pytest.raises(UserError, match=r"not here: pip install ofa-modality-taxt==0.1.0"):
            read_extension([own(place)], [], state.parent)
    finally:
        state.write_text(before)


def test_without_a_model_to_start_from_nothing_can_be_kept(place: Path) -> None:
    with pytest.raises(UserError, match="keep: there is no model to start from; .*--from RUN"):
        read_checked([own(place, keep="all")])


def test_a_sharded_run_is_extended_as_any_other(place: Path) -> None:
    convert(place / "old", place / "sharded", sharded=True)
    run, extension = read_extension([own(place)], [], place / "sharded")
    grown, old = begin(extension, run), Generalist.from_pretrained(place / "old")
    before, after = old.model.portable_state(), grown.model.portable_state()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_slim_model_of_some_tasks_is_exported(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, extension = read_extension([own(place)], [], place / "old")
    grown = begin(extension, run)
    grown.save(place / "grown")
    with pytest.raises(SystemExit) as ended:
        main(
            ["export", str(place / "grown"), "--out", str(place / "slim"), "--tasks", "hush, sort"]
        )
    assert not ended.value.code
    slim = Generalist.from_pretrained(place / "slim")
    assert slim.tasks == ("hush", "sort")
    assert all(torch.equal(logits(slim, name), logits(grown, name)) for name in slim.tasks)
    for tasks, said in (("hsh", "no task 'hsh' in this model; did you mean 'hush'"),):
        with pytest.raises(SystemExit) as ended:
            main(["export", str(place / "grown"), "--out", str(place / "no"), "--tasks", tasks])
        assert ended.value.code == 2 and said in capsys.readouterr().err
        assert not (place / "no").exists()
