"""Whole runs are merged: those that began with one model, and those that began with one seed."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import typer
from typer.testing import CliRunner

import ofa_merge
from ofa_merge.combining import part_of
from ofa_merge.command import merge as command
from ofa_merge.validation import LossRange, task_losses
from ofa_merge.vectors import WHOLE, list_vectors
from ofacore import Generalist, Task, read_checkpoint
from ofacore.checkpoint import find_latest, load_state
from ofacore.plugin import UserError

WORDS = ("red", "blue", "cat", "dog", "sun")
SIZES = {
    "preset": "tiny",
    "hidden": 32,
    "ffn": 64,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
}
TRAIN = {
    "samples": 10,
    "precision": "fp32",
    "threads": 1,
    "trackers": ("jsonl",),
    "lr": {"name": "constant"},
}
OFA = typer.Typer()
OFA.command()(command)


def task(name: str, line: str, rows: list[dict], folder: Path, **more) -> Task:
    """Its rows are in a file, so that a run finds them again."""
    file = folder / f"{name}.csv"
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return Task(name, line, train=str(file), valid=str(file), test=str(file), **more)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A base with two tasks and a specialist of each; and two runs of one seed that have a task each."""
    root = tmp_path_factory.mktemp("merging")
    first = task(
        "first",
        "first of [TEXT:a]? -> [TEXT:b,closed_set]",
        [{"a": f"{x} {y}", "b": x} for x in WORDS for y in WORDS],
        root,
        metrics=[{"metric": "accuracy", "slot": "b"}],
    )
    last = task(
        "last",
        "last of [TEXT:a]? -> [TEXT:b]",
        [{"a": f"{x} {y}", "b": y} for x in WORDS for y in WORDS],
        root,
        metrics=[{"metric": "exact_match", "slot": "b"}],
    )
    base = Generalist.create([first, last], **SIZES)
    base.fit(1, out=root / "base", checkpoint={"form": "sharded"}, **TRAIN)
    for name in ("first", "last"):
        only = {"name": "weights", "options": {"weights": {"first": 0, "last": 0, name: 1}}}
        run = Generalist.from_pretrained(root / "base")
        run.fit(16, out=root / name, schedule=only, **TRAIN)
    tokens = root / "tokenizer.json"
    tokens.write_bytes(base.assembly.artifacts["text"].files["tokenizer.json"])
    words = {"preprocessor/text": {"path": str(tokens), "tokenizer": "hf"}}
    for one, more in ((first, {}), (last, {"lora": {"rank": 2, "alpha": 3.0, "per": "task"}})):
        run = Generalist.create([one], options=words, **SIZES, **more)
        run.fit(2, out=root / f"seed-{one.name}", **TRAIN)
    return SimpleNamespace(root=root, runs=[root / "first", root / "last"])


def test_specialists_merge_into_a_run_that_answers_both(made):
    out = made.root / "ties"
    report = ofa_merge.merge(made.runs, "ties", out=out, options={"density": 0.5})
    model = Generalist.from_pretrained(out)
    assert model.tasks == ("first", "last")
    assert model.infer("first", {"a": "cat sun"}).values["b"] in WORDS
    assert report.ancestor == str(find_latest(made.root / "base"))
    kept = {row.task: row for row in report.kept}
    assert kept["first"].run == str(made.runs[0])
    assert all(row.rows == 25 and row.specialist is not None for row in report.kept)
    told = json.loads((out / "merge.json").read_text())
    assert told["weights"] == [1.0, 1.0] and told["options"] == {"density": 0.5, "scale": 1.0}
    assert [row["kept"] for row in told["kept"]] == [row.kept for row in report.kept]


def test_what_merging_gives_is_worked_out_by_name(made):
    out = made.root / "sum"
    ofa_merge.merge(made.runs, "task-arithmetic", out=out, weights=(0.5, -0.25), score=False)
    base, one, two, found = (
        read_checkpoint(folder) for folder in (made.root / "base", *made.runs, out)
    )
    assert set(found) == set(base)
    for name in found:
        expected = base[name] + 0.5 * (one[name] - base[name]) - 0.25 * (two[name] - base[name])
        torch.testing.assert_close(found[name], expected, atol=1e-6, rtol=0)


def test_runs_of_one_seed_join_their_tasks_and_low_rank_updates_are_folded_in(made):
    runs = [made.root / "seed-first", made.root / "seed-last"]
    assert load_state(find_latest(runs[0]))["origin"] == {"seed": 1}
    out = made.root / "joined"
    report = ofa_merge.merge(runs, "task-arithmetic", out=out, weights=(0.0, 1.0), score=False)
    assert report.ancestor == "initial values of seed 1"
    joined, alone = Generalist.from_pretrained(out), Generalist.from_pretrained(runs[1])
    assert joined.tasks == ("first", "last") and not joined.assembly.config.model.lora.rank
    plan = alone.plan("last")
    rows = [{"a": f"{x} {y}", "b": y} for x in WORDS for y in WORDS[:2]]
    from ofacore.evaluation.forced import reference_log_probs

    both = [
        reference_log_probs(model.model.eval(), model.assembly.encoder(plan), rows, "b")
        for model in (joined, alone)
    ]
    for found, expected in zip(*both, strict=True):
        assert found == pytest.approx(expected, abs=1e-4)


def test_weights_are_searched_by_validation_loss(made):
    assert LossRange(1.0, 3.0).placed(2.0) == 0.5 and LossRange(2.0, 2.0).placed(3.0) == 0.5
    report = ofa_merge.merge(
        made.runs, "mean", out=made.root / "searched", search=True, score=False
    )
    assert len(report.weights) == 2 and any(report.weights)
    after, before = map(
        float, re.findall(r"loss (\S+), at the beginning (\S+) ", report.notes[0])[0]
    )
    assert after <= before


def test_a_search_goes_by_losses_whatever_validation_measures(made):
    notes = []
    for every in (0, 1):
        runs = []
        for run in made.runs:
            model = Generalist.from_pretrained(run)
            train = model.assembly.config.train
            validation = train.validation.model_copy(update={"every": every})
            changed = train.model_copy(update={"validation": validation})
            model.assembly.config = model.assembly.config.model_copy(update={"train": changed})
            runs.append(model.save(made.root / f"{run.name}-{every}"))
        out = made.root / f"searched-{every}"
        notes.append(ofa_merge.merge(runs, "mean", out=out, search=True, score=False).notes)
    assert notes[0] == notes[1]


def test_the_balance_of_routers_is_no_task_that_is_searched_by():
    rows = [{"a": "red blue", "b": "red"}, {"a": "cat dog", "b": "cat"}]
    only = Task("first", "[TEXT:a] -> [TEXT:b]", train=rows, valid=rows)
    found = task_losses(Generalist.create([only], experts="topk", **SIZES))
    assert set(found) == {"first"}


def test_what_runs_know_of_their_data_and_beginnings_is_kept(tmp_path):
    rows = [{"a": "red blue", "n": ["one", "two", "three"], "b": "red", "kind": "x"}]
    rows += [{"a": "cat", "n": ["two"], "b": "cat", "kind": "y"}] * 3
    weights = {"class_weights": {"b": "balanced"}}
    tasks = [
        Task("count", "[TEXT:a] -> ([TEXT:n,closed_set])*", train=rows),
        Task("name", "[TEXT:a] -> [TEXT:b,closed_set]", train=rows, **weights),
    ]
    Generalist.create(tasks, **SIZES).save(tmp_path / "base")
    for name in ("one", "two"):
        run = Generalist.from_pretrained(tmp_path / "base")
        if name == "two":
            run = run.extend([Task("sort", "[TEXT:a] -> [CATEGORY:kind]", train=rows)])
        run.save(tmp_path / name)
    begun = Generalist.from_pretrained(tmp_path / "two").assembly
    runs = [tmp_path / "one", tmp_path / "two"]
    ofa_merge.merge(runs, "mean", out=tmp_path / "merged", score=False)
    merged = Generalist.from_pretrained(tmp_path / "merged").assembly
    assert merged.plans["count"].turns == 3
    assert merged.plans["name"].class_weights == begun.plans["name"].class_weights
    assert merged.vocabulary.founders == begun.vocabulary.founders
    assert len(merged.vocabulary.founders) < len(merged.vocabulary.blocks)


def test_adamerging_makes_answers_surer(made):
    settings = {"steps": 4, "rate": 0.05, "rows": 3}
    report = ofa_merge.merge(
        made.runs, "adamerging", out=made.root / "ada", options=settings, score=False
    )
    words = report.notes[0].split()
    assert float(words[-4]) < float(words[6].rstrip(","))
    assert isinstance(report.weights, dict) and "backbone.encoder.0" in report.weights
    assert any(pair != [0.3, 0.3] for pair in report.weights.values())


def test_the_gradient_of_weights_is_that_of_the_merged_model(made):
    from ofa_merge.ancestor import find_ancestor
    from ofa_merge.combining import Combination
    from ofa_merge.entropy import mean_entropy, questions
    from ofa_merge.learning import LearnedWeights, _by_name
    from ofa_merge.methods import METHODS
    from ofa_merge.opened import open_run
    from ofa_merge.rows import open_rows
    from ofa_merge.union import union
    from ofacore.generalist.facade import build_model

    runs = [open_run(run) for run in made.runs]
    merged = union(runs, "x")
    combination = Combination(runs, METHODS["adamerging"], {}, find_ancestor(runs, merged, None))
    rows, _ = open_rows(merged.run, ("first",), None)
    model = Generalist(merged, build_model(merged), rows)
    asked = questions(model, rows, 2)
    assert len(asked) == 2 and all(len(each.answers) == len(WORDS) for each in asked)

    def entropy(weights):
        model.model.load_portable(combination.all(lambda name: weights))
        return mean_entropy(model.model.eval(), asked)

    learned = LearnedWeights(combination, (0.3, 0.3), by_part=False)
    model.model.requires_grad_(True)
    entropy((0.3, 0.3)).backward()
    found = learned._gradient(_by_name(model.model))[0, 1]
    step = 1e-2
    with torch.no_grad():
        slope = (entropy((0.3, 0.3 + step)) - entropy((0.3, 0.3 - step))) / (2 * step)
    assert float(found) == pytest.approx(float(slope), rel=0.05, abs=1e-4)


def test_task_vectors_are_listed_and_compared(made):
    found = list_vectors(made.runs)
    base, one, two = (read_checkpoint(folder) for folder in (made.root / "base", *made.runs))

    def flat(names):
        return [torch.cat([(run[n] - base[n]).flatten() for n in names]) for run in (one, two)]

    parts = {row.part: row for row in found.rows}
    pair = (str(made.runs[0]), str(made.runs[1]))
    for part, names in {
        WHOLE: list(base),
        "backbone.decoder.0": [n for n in base if part_of(n) == "backbone.decoder.0"],
    }.items():
        first, second = flat(names)
        row = parts[part]
        assert row.norms[pair[0]] == pytest.approx(float(first.norm()), rel=1e-4)
        cosine = torch.nn.functional.cosine_similarity(first, second, dim=0)
        assert row.cosines[pair] == pytest.approx(float(cosine), abs=1e-4)
        both = (first != 0) & (second != 0)
        against = ((first * second < 0) & both).sum() / both.sum()
        assert row.conflicts[pair] == pytest.approx(float(against), abs=1e-3)


def test_the_command_merges_and_lists(made):
    runs = [str(run) for run in made.runs]
    out = made.root / "by-command"
    arguments = ["--method", "dare", "--weights", "0.5,0.5", "--set", "drop=0.2", "--limit", "5"]
    done = CliRunner().invoke(OFA, [*runs, *arguments, "--out", str(out)], catch_exceptions=False)
    assert "2 runs by dare, which began with" in done.stdout and "KEPT" in done.stdout
    assert "merging " in done.stderr and "(model 1 of 3)" in done.stderr
    with pytest.raises(UserError, match="alone is nothing to merge: give two or more"):
        command([made.runs[0]])
    assert json.loads((out / "merge.json").read_text())["options"] == {"drop": 0.2, "seed": 1}
    listed = CliRunner().invoke(OFA, [*runs, "--list"], catch_exceptions=False)
    assert WHOLE in listed.stdout and "cosine of two task vectors" in listed.stdout


def test_mistakes_are_told_before_anything_is_written(made, tmp_path):
    narrow = Generalist.create(
        [Task("first", "[TEXT:a] -> [TEXT:b]", train=[{"a": "x", "b": "y"}])],
        **{**SIZES, "hidden": 16, "ffn": 32},
    )
    narrow.save(tmp_path / "narrow")
    other = tmp_path / "out"

    def refused(*runs, told: str, method: str = "mean", out=other, **more):
        with pytest.raises(UserError) as caught:
            ofa_merge.merge(runs or made.runs, method, out=out, **more)
        assert told in str(caught.value)
        assert not other.exists()
        return str(caught.value)

    said = refused(made.runs[0], tmp_path / "narrow", told="model.hidden")
    assert (
        "has 32" in said and "has 16" in said and "narrow" in said and "'text' has fitted" in said
    )
    refused(told="is one of the runs", out=made.runs[0])
    refused(told="is not empty", out=made.root)
    refused(made.runs[0], made.runs[0], told="given twice")
    refused(made.runs[0], told="give two or more")
    refused(made.runs[0], told="give two or more", method="ties")
    refused(told="1 weight for 2 runs", weights=(1.0,))
    refused(told="leave out", weights=(1.0, 1.0), search=True)
    refused(told="did you mean 'ties'", method="tis")
    refused(told="no task 'nothing'", data={"nothing": []})
    refused(made.runs[0], made.root / "base", told="no common ancestor", method="ties")
    refused(told="did not begin with this base", method="ties", base=tmp_path / "narrow")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tmp")]


def test_an_ancestor_that_is_gone_or_changed_is_not_taken(made, tmp_path):
    base = find_latest(made.root / "base")
    aside = base.with_name("step-000009x")
    base.rename(aside)
    try:
        with pytest.raises(UserError, match="is gone or holds other weights"):
            ofa_merge.merge(made.runs, "ties", out=tmp_path / "out")
        given = ofa_merge.merge(made.runs, "ties", out=tmp_path / "out", base=aside, score=False)
        assert given.ancestor == str(aside)
    finally:
        aside.rename(base)


def test_a_run_that_goes_on_keeps_its_ancestor(made):
    run = Generalist.from_pretrained(made.runs[0])
    before = dict(run.assembly.origin)
    assert before == load_state(find_latest(made.runs[0]))["origin"]
    run.fit(17, out=made.runs[0], resume=True, **TRAIN)
    assert load_state(find_latest(made.runs[0]))["origin"] == before
    run.fit(1, out=made.root / "second", **TRAIN)
    again = load_state(find_latest(made.root / "second"))["origin"]
    assert again["folder"] == str(find_latest(made.runs[0]))
