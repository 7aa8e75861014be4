"""What a run says of itself: its scores, which step is best, and what it keeps; the same when it is scored again."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from ofacore.checkpoint import CheckpointError, pointer_facts, write_pointer
from ofacore.evaluation.report import ScoreRow
from ofacore.evaluation.results import read_predictions, read_samples, read_scores
from ofacore.ground.errors import UserError
from ofacore.ground.folders import claimed
from ofacore.runs.scoring_run import evaluate_run, told_checkpoints
from ofacore.runs.train_run import train_run
from ofacore.setup.run_check import read_checked

ROWS = [
    {"a": f"{word} {i}", "kind": word, "n": str(i % 3)}
    for word in ("cat", "dog", "cow")
    for i in range(10)
]
TASK = {
    "instruction": "[TEXT:a] -> [TEXT:kind,closed_set] [TEXT:n,closed_set]",
    "metrics": [{"metric": "accuracy", "slot": "kind"}, {"metric": "accuracy", "slot": "n"}],
}
CONFIG: dict[str, Any] = {
    "name": "small",
    "model": {"preset": "tiny", "hidden": 32, "ffn": 64, "encoder_layers": 1, "decoder_layers": 1},
    "train": {
        "steps": 20,
        "samples": 8,
        "precision": "bf16",
        "threads": 1,
        "ema": 0.5,
        "trackers": ["jsonl"],
        "checkpoint": {"every": 10, "keep_last": 3},
        "validation": {"every": 10, "samples": 8},
    },
}


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@dataclass
class Trained:
    """A finished run whose train and valid files are gone."""

    folder: Path
    shown: str
    scores: list[ScoreRow]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    place = tmp_path_factory.mktemp("scored")
    parts = {"train": ROWS, "valid": ROWS[::3], "test": ROWS[1::2]}
    data = {split: written(place / f"{split}.jsonl", rows) for split, rows in parts.items()}
    config = {**CONFIG, "tasks": {"kinds": {**TASK, "data": data}}}
    (place / "run.yaml").write_text(yaml.safe_dump(config))
    console = Console(file=StringIO(), width=120)
    run = read_checked([str(place / "run.yaml")], ["train.test_rows=10"], folder=place / "run")
    folder = train_run(run, folder=place / "run", console=console)
    (place / "train.jsonl").unlink()
    (place / "valid.jsonl").unlink()
    return Trained(folder, console.file.getvalue(), read_scores(folder))  # type: ignore[attr-defined]


def test_the_screen_says_what_was_scored_and_which_step_is_best(trained: Trained) -> None:
    assert "scored: the last checkpoint, step-000020" in trained.shown
    assert trained.shown.count("10 of 15") == 2 and f"ofa eval {trained.folder}" in trained.shown
    best = pointer_facts(trained.folder, "best")
    assert list(told_checkpoints(trained.folder, "step-000020"))[-1] in trained.shown
    assert best["by"] == "kinds/kind/accuracy" and best["by"] in trained.shown


def test_the_best_checkpoint_is_told_apart_from_the_last_only_where_it_is_another(
    tmp_path: Path,
) -> None:
    (tmp_path / "checkpoints").mkdir()
    for step in (10, 20):
        write_pointer(tmp_path, "best", tmp_path / f"step-0000{step}", step=step, score=0.5, by="x")
        told = " ".join(told_checkpoints(tmp_path, "step-000020"))
        assert ("which is the best one too (0.5, by x)" in told) == (step == 20)
        assert ("best checkpoint: step 10 (0.5, by x); to score it" in told) == (step == 10)


def test_a_metric_on_two_slots_has_two_names_everywhere(trained: Trained) -> None:
    names = ["kind/accuracy", "n/accuracy"]
    assert [row.metric for row in trained.scores] == names
    assert [row.slot for row in trained.scores] == ["kind", "n"]
    lines = (trained.folder / "metrics.jsonl").read_text().splitlines()
    measured = [record for record in map(json.loads, lines) if "valid/kinds/n/accuracy" in record]
    assert [record["step"] for record in measured] == [10, 20]
    assert all("valid/kinds/kind/accuracy" in record for record in measured)


def test_the_best_step_is_best_by_the_metric(trained: Trained) -> None:
    lines = (trained.folder / "metrics.jsonl").read_text().splitlines()
    name = "valid/kinds/kind/accuracy"
    found = {line["step"]: line[name] for line in map(json.loads, lines) if name in line}
    best = pointer_facts(trained.folder, "best")
    assert best["score"] == max(found.values()) == found[best["step"]]
    assert best["step"] == min(step for step, value in found.items() if value == best["score"])


def test_a_run_is_scored_again_to_the_last_digit_from_its_test_file_alone(trained: Trained) -> None:
    """Baselines are fitted on training rows, which are not there."""
    again = evaluate_run(trained.folder, limit=10)
    assert [scored(row) for row in again] == [scored(row) for row in trained.scores]
    assert read_scores(trained.folder)[0].samples == 10  # some of the rows are not the run's own


def test_what_is_scored_as_training_does_becomes_part_of_the_run(
    trained: Trained, caplog: pytest.LogCaptureFixture
) -> None:
    before = [(row.baseline, f"{row.baseline_doc}, on 10 of the rows") for row in trained.scores]
    with caplog.at_level(logging.WARNING, "ofacore.evaluation"):
        all_rows = evaluate_run(trained.folder)
    assert [row.rows for row in all_rows] == ["15", "15"]
    fitted = [(row.baseline, row.baseline_doc) for row in all_rows if row.baseline is not None]
    assert fitted == [pair for pair in before if pair[0] is not None] and fitted
    assert "baselines of kinds are those that the run has" in caplog.text
    assert [row.plain() for row in read_scores(trained.folder)] == [r.plain() for r in all_rows]
    predictions = read_predictions(trained.folder)["kinds"]
    assert [Path(one.row).name for one in predictions] == [f"test.jsonl:{i}" for i in range(1, 16)]
    assert [one.references["kind"] for one in predictions] == [row["kind"] for row in ROWS[1::2]]
    for row in all_rows:
        items = [one.scores[row.metric] for one in predictions]
        right = [one.values[row.slot] == one.references[row.slot] for one in predictions]
        assert items == right and row.score == pytest.approx(sum(items) / 15)
    assert all(1 / 3 < one.confidences["kind"] <= 1 for one in predictions)
    assert all(one.closed == ["kind", "n"] for one in predictions)
    samples = read_samples(trained.folder)["kinds"]
    worst = [sample.note for sample in samples if sample.note]
    wrong = [one.row for one in predictions if not one.scores["kind/accuracy"]]
    assert len(worst) == min(12, len(wrong)) and all(note.split(": ")[0] in wrong for note in worst)


def test_other_rows_and_another_checkpoint_are_kept_apart(trained: Trained) -> None:
    before = (trained.folder / "scores.json").read_text()
    rows = written(trained.folder.parent / "other.jsonl", [*ROWS[:4], {"a": "cat 9", "n": "0"}])
    kept = trained.folder.parent / "kept"
    found = evaluate_run(trained.folder, data={"kinds": rows}, which="10", keep=kept)
    assert [row.rows for row in found] == ["4 (1 left out)", "5"]
    assert found[0].checkpoint == "step-000010" == read_scores(kept)[0].checkpoint
    assert len(read_predictions(kept)["kinds"]) == 5
    assert (trained.folder / "scores.json").read_text() == before
    with pytest.raises(UserError, match="it exists; name a new folder"):
        evaluate_run(trained.folder, keep=kept)


def test_mistakes_are_told_before_any_work(trained: Trained) -> None:
    place = trained.folder.parent
    with pytest.raises(
        CheckpointError, match="'30'; there are latest and best, and the steps 10, 20"
    ):
        evaluate_run(trained.folder, which="30")
    unlike = written(place / "unlike.jsonl", [{"text": "cat 1", "kind": "cat", "n": "1"}])
    with pytest.raises(UserError, match=r"no row .* answered: .*'a'.*its columns are text, kind"):
        evaluate_run(trained.folder, data={"kinds": unlike})
    unjudged = written(place / "unjudged.jsonl", [{"a": "cat 1", "knd": "cat", "n": "1"}])
    with pytest.raises(UserError, match="needs the column 'kind', .*did you mean 'knd'"):
        evaluate_run(trained.folder, data={"kinds": unjudged})
    with pytest.raises(UserError, match="no task 'kind' in this model; did you mean 'kinds'"):
        evaluate_run(trained.folder, data={"kind": unlike})


def test_a_run_that_is_being_trained_is_told(
    trained: Trained, caplog: pytest.LogCaptureFixture
) -> None:
    with claimed(trained.folder), caplog.at_level(logging.WARNING, "ofacore.evaluation"):
        evaluate_run(trained.folder, limit=1)
    assert "is being trained: what is scored is its step-000020" in caplog.text


def scored(row: ScoreRow) -> dict[str, Any]:
    return {**row.plain(), "baseline": None, "baseline_doc": ""}
