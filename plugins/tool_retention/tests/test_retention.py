"""``ofa report retention`` on three tasks of text that a tiny model trains on in seconds."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from ofa_cli.main import main
from ofa_retention.running import run
from ofa_retention.study import Study, read_seeds, read_shifts, read_variants
from ofa_retention.trainings import own_steps, planned
from ofa_retention.workers import share_of
from ofacore import Generalist
from ofacore.plugin import UserError

WORDS = ("red", "green", "blue", "cat", "dog", "owl")
ANSWERS = {
    "first": lambda row: row[0],
    "last": lambda row: row[2],
    "animal": lambda row: "yes" if WORDS.index(row[0]) > 2 else "no",
}
TASKS = tuple(ANSWERS)


def write_rows(file: Path, answer, rows) -> None:
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(["a", "b"])
        writer.writerows([" ".join(row), answer(row)] for row in rows)


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Path:
    """A configuration of three tasks, beside its data."""
    folder = tmp_path_factory.mktemp("toy")
    rows = list(product(WORDS, repeat=3))
    tasks = {}
    for name, answer in ANSWERS.items():
        files = {split: str(folder / f"{name}-{split}.csv") for split in ("train", "test")}
        write_rows(Path(files["train"]), answer, rows[::2])
        write_rows(Path(files["test"]), answer, rows[1::7])
        tasks[name] = {
            "instruction": f"{name} [TEXT:a] -> [TEXT:b,closed_set]",
            "metrics": [{"metric": "exact_match", "slot": "b"}],
            "data": files,
        }
    write_rows(folder / "other.csv", ANSWERS["animal"], rows[3::11])
    sizes = {"hidden": 32, "ffn": 64, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    settings = {
        "name": "toy",
        "tasks": tasks,
        "model": {"preset": "tiny", "dropout": 0.0, **sizes},
        "train": {
            "steps": 12,
            "samples": 36,
            "precision": "fp32",
            "threads": 1,
            "trackers": ["jsonl"],
            "optimizer": {"lr": 5e-3},
            "checkpoint": {"every": 4},
        },
    }
    (folder / "toy.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return folder


def wait_for(condition, child: subprocess.Popen | None = None, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert child is None or child.poll() is None, "it ended by itself"
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)


def asked(toy: Path, out: Path, **changed) -> Study:
    given = {
        "source": str(toy / "toy.yaml"),
        "overrides": (),
        "seeds": (1,),
        "variants": read_variants(["dense"]),
        "tasks": (),
        "only": "",
        "rows": 0,
        "shifts": read_shifts([f"animal={toy / 'other.csv'}"]),
        "out": out,
        "snapshots": 2,
    }
    return Study(**{**given, **changed})


@pytest.fixture(scope="module")
def done(toy, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("report") / "retention"
    run(asked(toy, out))
    return out


def read(file: Path):
    return json.loads(file.read_text(encoding="utf-8"))


def without_time(value):
    if isinstance(value, dict):
        return {key: without_time(each) for key, each in value.items() if "seconds" not in key}
    return [without_time(each) for each in value] if isinstance(value, list) else value


def test_every_task_of_every_generalist_is_compared_with_its_specialist(done):
    results = read(done / "results.json")
    assert [(row["variant"], row["task"]) for row in results["tasks"]] == [
        ("dense", task) for task in TASKS
    ]
    for row in results["tasks"]:
        alone = read(
            done / "seed-1" / "specialists" / row["task"] / "scores" / f"{row['task']}.json"
        )
        whole = read(done / "seed-1" / row["variant"] / "scores" / f"{row['task']}.json")
        assert (row["specialist"], row["generalist"]) == (alone["score"], whole["score"])
        assert row["difference"] == pytest.approx(whole["score"] - alone["score"])
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
        assert alone["items"].keys() == whole["items"].keys()
        assert row["baseline_doc"] == "most frequent answer" and row["baseline"] > 0
    for mean in results["means"]:
        assert mean["tasks"] == 3
        share = mean["parameters"] / mean["specialists_parameters"]
        assert 0.3 < share < 0.4


def test_specialists_take_as_many_samples_of_their_task_as_the_generalist(done):
    for task in TASKS:
        took = read(done / "seed-1" / "specialists" / task / "training.json")
        assert (took["steps"], took["samples"]) == (12, 12 * 12)
    assert read(done / "seed-1" / "dense" / "training.json")["samples"] == 12 * 36
    assert not (done / "seed-1" / "specialists" / "first" / "checkpoints").exists()


def test_rows_of_another_source_are_scored_without_training(done):
    found = read(done / "results.json")["other sources"]
    assert [row["task"] for row in found] == ["animal @ other.csv"]
    assert all(row["samples"] and row["generalist"] is not None for row in found)


def test_the_page_is_whole_and_its_bars_have_axis_and_legend(done):
    text = (done / "report.html").read_text(encoding="utf-8")
    drawn = [part.partition("</svg>")[0] for part in text.split("<svg")[1:]]
    rows = read(done / "results.json")["tasks"]
    gains = {row["task"] for row in rows if row["normalised"] is not None}
    bars = 1 + bool(gains)
    assert len(drawn) == bars + len(TASKS) + 2, "bars, a curve for each task, matrices twice"
    curves, drawn = drawn[bars : bars + len(TASKS)], drawn[:bars] + drawn[-2:]
    assert all(each.count("<polyline") == 2 for each in curves), "specialist and generalist"
    words = [set(ElementTree.fromstring(f"<svg{svg}</svg>").itertext()) for svg in drawn]
    assert all(set(TASKS) <= each for each in words[-3:])
    assert all({"dense", "1"} <= each for each in words[:bars])
    assert "step on  \u2193   loss of  \u2192" in words[bars]
    assert all(gains <= each for each in words[:bars])
    told = text.partition("there is no gain to keep: ")[2].partition(".</p>")[0]
    assert set(told.split(", ")) - {""} == set(TASKS) - gains


def test_who_helps_whom_is_measured_along_the_run(done):
    found = read(done / "transfer.json")["dense"]
    assert found["tasks"] == list(TASKS)
    assert [moment["step"] for moment in found["along the run"]] == [6, 12]
    for name in ("lookahead", "cosine"):
        mean = np.mean([moment[name] for moment in found["along the run"]], axis=0)
        assert np.array(found[name]) == pytest.approx(mean, abs=1e-6)
    assert np.diag(found["cosine"]) == pytest.approx(1.0, abs=1e-3)
    assert np.isfinite(found["lookahead"]).all() and np.ptp(found["lookahead"]) > 0
    assert sorted(task for group in found["groups"] for task in group) == sorted(TASKS)


def test_started_again_it_trains_nothing_and_says_the_same(toy, done, capsys):
    before, stamp = (
        read(done / "results.json"),
        os.stat(done / "seed-1" / "dense" / "training.json"),
    )
    run(asked(toy, done))
    assert read(done / "results.json") == before
    assert os.stat(done / "seed-1" / "dense" / "training.json").st_mtime_ns == stamp.st_mtime_ns
    assert "generalist 'dense'" in capsys.readouterr().out


def test_models_of_an_earlier_version_are_kept_where_it_lacked_a_setting(toy, done, tmp_path):
    out = tmp_path / "older"
    shutil.copytree(done, out)
    for file in out.glob("seed-1/**/recipe.json"):
        recipe = read(file)
        del recipe["model"]["experts_shared"], recipe["train"]["ema"]
        file.write_text(json.dumps(recipe))
    stamp = os.stat(out / "seed-1" / "dense" / "training.json")
    run(asked(toy, out))
    assert read(out / "results.json") == read(done / "results.json")
    assert os.stat(out / "seed-1" / "dense" / "training.json").st_mtime_ns == stamp.st_mtime_ns


def test_a_specialist_stays_as_it_is_however_tasks_are_weighed(toy, done, tmp_path):
    """One task has nothing to be weighed against: its model is not trained again."""
    out = tmp_path / "weighed"
    shutil.copytree(done, out)
    trained = out / "seed-1" / "specialists" / "last" / "training.json"
    before = trained.stat()
    run(asked(toy, out, only="specialists", overrides=("train.loss_average=samples",)))
    assert trained.stat().st_mtime_ns == before.st_mtime_ns


def test_killed_it_goes_on_to_the_same_figures(toy, done, tmp_path):
    """SIGKILL in the middle of the generalist's training; all processes are gone, nothing was told."""
    out = tmp_path / "killed"
    command = ["report", "retention", str(toy / "toy.yaml"), "--out", str(out), "--rows", "0"]
    command += ["--only", "generalist", "--variant", "dense"]
    command += ["--set", "train.checkpoint.every=6"]
    command += ["--data", f"animal={toy / 'other.csv'}"]
    child = os.fork()
    if child == 0:
        try:
            main(command)
        finally:
            os._exit(0)
    checkpoints = out / "seed-1" / "dense" / "checkpoints"
    ended = (0, 0)
    while ended[0] == 0 and not list(checkpoints.glob("*/COMPLETE")):
        time.sleep(0.005)
        ended = os.waitpid(child, os.WNOHANG)
    assert ended[0] == 0, "it ended by itself"
    os.kill(child, signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert not (out / "seed-1" / "dense" / "training.json").exists()
    shutil.copytree(done / "seed-1" / "specialists", out / "seed-1" / "specialists")
    run(asked(toy, out))
    assert without_time(read(out / "results.json")) == without_time(read(done / "results.json"))


@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name)
def test_of_several_at_a_time_each_is_saved_when_the_report_is_ended(toy, tmp_path, ended_by):
    """No checkpoint is due: what workers hold is lost unless they save it."""
    out = tmp_path / "ended"
    command = ["report", "retention", str(toy / "toy.yaml"), "--out", str(out), "--rows", "0"]
    command += ["--only", "generalist", "--variant", "dense", "--variant", "experts"]
    command += ["--set", "train.checkpoint.every=1000", "--set", "train.steps=3000", "--jobs", "2"]
    ofa = str(Path(sys.executable).with_name("ofa"))
    child = subprocess.Popen([ofa, *command], stderr=subprocess.PIPE, text=True)
    folders = [out / "seed-1" / name for name in ("dense", "experts")]
    wait_for(lambda: all((folder / "metrics.jsonl").is_file() for folder in folders), child)
    child.send_signal(ended_by)
    told = child.communicate(timeout=120)[1]
    assert child.returncode == (128 + ended_by if ended_by == signal.SIGTERM else -ended_by)
    assert "Traceback" not in told
    saved = [folder / "checkpoints" for folder in folders]
    wait_for(lambda: all(list(each.glob("*/COMPLETE")) for each in saved))
    assert all(int(each.name.partition("-")[2]) < 1000 for each in saved[0].glob("step-*"))


REFUSED = {
    "other settings": ({"overrides": ("train.steps=13",)}, "train.steps was 12 and is 13.*--out"),
    "no such task": ({"tasks": ("frist",)}, "--tasks: no task 'frist'; did you mean 'first'"),
    "several processes": ({"overrides": ("parallel.nproc=2",)}, "parallel.nproc.*--jobs"),
    "no sample": ({"overrides": ("tasks.last.weight=0",)}, "task 'last' gives no sample.*--tasks"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_compared_is_refused_with_the_way_out(toy, done, case):
    changed, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        run(asked(toy, done, **changed))


def test_workers_share_the_processors_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert share_of(2) == share_of(5) == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_a_worker_cannot_use_is_told_as_in_one_process(toy, done, tmp_path, jobs):
    out = tmp_path / "damaged"
    shutil.copytree(done, out)
    folder = out / "seed-1" / "specialists" / "last"
    (folder / "scores" / "last.json").unlink()
    (folder / "model" / "state.json").write_text("{")
    with pytest.raises(UserError, match=r"last/model/state\.json: damaged"):
        run(asked(toy, out, only="specialists", shifts=(), snapshots=0), jobs)


def test_a_score_that_is_not_whole_is_made_anew(toy, done, tmp_path):
    out = tmp_path / "cut"
    shutil.copytree(done, out)
    (out / "seed-1" / "dense" / "scores" / "last.json").write_text("{}")
    run(asked(toy, out))
    assert read(out / "results.json") == read(done / "results.json")


def test_a_score_that_is_no_number_is_told_and_ends_no_report(toy, done, tmp_path):
    """As a correlation is none where all that was written is equally long."""
    out = tmp_path / "no_number"
    shutil.copytree(done, out)
    without = out / "seed-1" / "dense" / "scores" / "last.json"
    without.write_text(json.dumps({**read(without), "score": None}))
    for file in out.glob("seed-1/**/scores/first.json"):
        score = read(file)
        score["baseline"]["score"] = None
        file.write_text(json.dumps(score))
    run(asked(toy, out))
    rows = {row["task"]: row for row in read(out / "results.json")["tasks"]}
    assert "exact_match of what it answers is no number" in rows["last"]["problem"]
    assert rows["last"]["generalist"] is None and rows["last"]["specialist"] is not None
    assert rows["first"]["baseline"] is None and rows["first"]["ratio"] is not None


def test_every_model_has_a_folder_of_its_own_whatever_its_task_is_called(toy, tmp_path):
    settings = yaml.safe_load((toy / "toy.yaml").read_text(encoding="utf-8"))
    tasks = settings["tasks"]
    names = (".", "..", "specialists")
    settings["tasks"] = dict(zip(names, tasks.values(), strict=True))
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    out = tmp_path / "out"
    study = asked(toy, out, source=str(tmp_path / "odd.yaml"), shifts=())
    folders = [training.folder.resolve().relative_to(out) for training in planned(study)]
    assert {folder.parent.name for folder in folders[:3]} == {"specialists"}
    assert len(set(folders)) == 4 and all(len(folder.parts) > 1 for folder in folders)


@pytest.mark.parametrize(("epochs", "steps"), [("2", 18), ("{first: 1}", 9)])
def test_a_length_in_passes_over_the_data_is_that_of_every_model(toy, tmp_path, epochs, steps):
    """Three tasks of 108 rows, 36 samples in a step of which each task has 12."""
    settings = yaml.safe_load((toy / "toy.yaml").read_text(encoding="utf-8"))
    del settings["train"]["steps"]
    settings["train"]["epochs"] = yaml.safe_load(epochs)
    (tmp_path / "epochs.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    found = planned(asked(toy, tmp_path / "out", source=str(tmp_path / "epochs.yaml")))
    lengths = [(each.config.train.steps, each.config.train.epochs) for each in found]
    assert lengths == [(steps, None)] * 4
    assert all(set(each.samples.values()) == {steps * 12} for each in found)


def test_a_rule_for_what_the_generalist_alone_has_is_left_out_of_a_specialist(
    toy, tmp_path, caplog
):
    """Experts by task: every task of the generalist has one, the specialist has a plain network."""
    rules = r'train.optimizer.rules=[{pattern: "[.]each[.]", lr: 0.01}, {pattern: norm, lr: 0.02}]'
    out = tmp_path / "rules"
    study = asked(
        toy,
        out,
        overrides=(rules, "train.steps=2"),
        variants=read_variants(["task:model.experts=task"]),
        tasks=("first", "last"),
        shifts=(),
        snapshots=0,
    )
    run(study)
    assert len(read(out / "results.json")["tasks"]) == 2
    told = [line for line in caplog.messages if "nothing that the rule" in line]
    assert [line.partition("'")[2].partition("'")[0] for line in told] == [
        "first-alone",
        "last-alone",
    ]
    last = Generalist.from_pretrained(out / "seed-1" / "specialists" / "last" / "model")
    (rule,) = last.assembly.config.train.optimizer.rules
    assert rule.pattern == "norm"


WRONG = {
    "1,x": (read_seeds, "'x' is no seed"),
    "1,1": (read_seeds, "twice"),
    "wide": (lambda text: read_variants([text]), "has no settings: write wide:key=value"),
    "specialists:a=1": (lambda text: read_variants([text]), "cannot be its name"),
    "wide:hidden": (lambda text: read_variants([text]), "key=value,key=value"),
    "animal": (lambda text: read_shifts([text]), "write task=file"),
    "animal=nowhere.csv": (lambda text: read_shifts([text]), "no file or folder 'nowhere.csv'"),
}


@pytest.mark.parametrize("text", WRONG)
def test_options_that_cannot_be_read_are_refused(text):
    reads, message = WRONG[text]
    with pytest.raises(UserError, match=message):
        reads(text)


def test_settings_of_a_variant_may_hold_lists():
    (found,) = read_variants(["even:train.trackers=[jsonl,tensorboard],model.hidden=64"])
    assert found.settings == ("train.trackers=[jsonl,tensorboard]", "model.hidden=64")


def test_steps_of_a_specialist_take_the_samples_of_its_task():
    assert own_steps(1200, 400) == (400, 3)
    steps, each = own_steps(130, 400)
    assert (steps, each) == (130, 1)
    for samples in range(1, 2000, 7):
        steps, each = own_steps(samples, 100)
        assert abs(steps * each - samples) <= each / 2


def test_a_variant_with_teachers_learns_from_specialists_that_have_its_tokens(toy, tmp_path):
    out = tmp_path / "retention"
    study = asked(toy, out, variants=read_variants(["taught:teachers=0.5,train.lr.decay=0.5"]))
    run(study, jobs=2)
    teachers = sorted((out / "seed-1" / "teachers").iterdir())
    assert [folder.name for folder in teachers] == sorted(TASKS)
    whole = Generalist.from_pretrained(out / "seed-1" / "taught" / "model").assembly
    for folder in teachers:
        own = Generalist.from_pretrained(folder / "model").assembly
        assert own.artifacts["text"].digest == whole.artifacts["text"].digest
        assert not (folder / "scores").exists()
    lines = (out / "seed-1" / "taught" / "metrics.jsonl").read_text().splitlines()
    assert all(json.loads(lines[-2])[f"train/{task}/b/taught"] >= 0 for task in TASKS)
    results = read(out / "results.json")
    assert [row["task"] for row in results["tasks"]] == list(TASKS)
    asked_for = whole.config.train
    assert {teacher.weight for teacher in asked_for.teachers} == {0.5} and asked_for.lr.decay == 0.5

    moved = tmp_path / "elsewhere"
    shutil.move(out, moved)
    before = (moved / "seed-1" / "taught" / "metrics.jsonl").read_text()
    run(asked(toy, moved, variants=study.variants))
    assert (moved / "seed-1" / "taught" / "metrics.jsonl").read_text() == before


@pytest.mark.parametrize("share", ["0", "2", "much", ""])
def test_a_share_of_teachers_that_is_none_is_refused(share):
    with pytest.raises(UserError, match="teachers= is a share, above 0 and at most 1"):
        read_variants([f"taught:teachers={share}"])


def test_a_variant_with_other_samples_than_its_specialists_is_refused(toy, tmp_path):
    more = read_variants(["dense", "more:train.samples=72"])
    with pytest.raises(UserError, match="'more' takes 12 x 72 = 864 samples, its specialists 432"):
        planned(asked(toy, tmp_path / "retention", variants=more))
    longer = read_variants(["longer:train.steps=24,train.samples=18"])
    assert planned(asked(toy, tmp_path / "retention", variants=longer))
