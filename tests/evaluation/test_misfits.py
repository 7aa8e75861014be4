"""Metrics that do not fit: told before training, and never at the price of the other scores."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from rich.console import Console

from ofacore import Generalist, Task
from ofacore.config.problems import ConfigError
from ofacore.evaluation.evaluation_errors import EvaluationError
from ofacore.plugin import CONTRACT, Component, ComponentManifest, Registry
from ofacore.runs.scoring_run import evaluate_run, finish
from ofacore.runs.train_run import print_tasks
from tests.generalist.test_generalist import QUIET, ROWS, SMALL

BOX = '[IMAGE:img,size=32] where is " [TEXT:cap] "? -> [BOX:box]'
PAIRS = [{"a": f"cat {i}", "b": f"dog {i}"} for i in range(6)]


class Moody:
    """Likes references, and raises on what a model writes."""

    higher_is_better: ClassVar[bool] = True

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = options

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        if list(predictions) != list(references):
            raise KeyError("no such\nword")

    def compute(self) -> dict[str, float]:
        return {"moody": 1.0}

    def merge(self, other: Any) -> None:
        """Nothing to add."""

    def items(self) -> Sequence[float]:
        return ()


@pytest.fixture
def with_moody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third party's metric, as an uninstalled plugin."""
    manifest = ComponentManifest(
        "moody", CONTRACT, (Component("metric", "moody", f"{__name__}:Moody"),)
    )
    monkeypatch.setitem(globals(), "MANIFEST", manifest)
    monkeypatch.setenv("OFA_PLUGIN_DEV", f"moody={__name__}:MANIFEST")


def uses(*names: str, slot: str = "b") -> list[dict[str, Any]]:
    return [{"metric": name, "slot": slot} for name in names]


@pytest.mark.parametrize("metrics", [["chrf"], ["iou_accuracy", "wer"]])
def test_a_metric_for_other_values_is_refused_before_training(metrics: list[str]) -> None:
    task = Task("t", BOX, train=ROWS, test=ROWS, metrics=uses(*metrics, slot="box"))
    with pytest.raises(
        ConfigError, match=f"tasks.t.metrics.{len(metrics) - 1}: metric '{metrics[-1]}'"
    ) as caught:
        Generalist.create([task], **SMALL)
    assert "BOX values of slot 'box'" in str(caught.value) and len(caught.value.problems) == 1


def test_a_bad_option_of_a_metric_is_refused_before_training() -> None:
    use = {"metric": "f1", "slot": "b", "options": {"average": "best"}}
    with pytest.raises(ConfigError, match="expected one of: empty, macro, micro, weighted"):
        Generalist.create([Task("t", "[TEXT:a] -> [TEXT:b]", train=PAIRS, metrics=[use])], **SMALL)


def test_what_only_might_not_fit_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    task = Task(
        "t", "go: [TEXT:cap] -> [MOTION:m,min_length=0]", train=ROWS, metrics=uses("chrf", slot="m")
    )
    Generalist.create([task], **SMALL)
    assert "metric 'chrf' may not fit slot 'm'" in caplog.text


@pytest.mark.usefixtures("with_moody")
def test_a_metric_that_fails_leaves_all_other_scores(tmp_path: Path) -> None:
    metrics = uses("exact_match", "moody", "cer")
    tasks = [
        Task(name, f"{name} [TEXT:a] -> [TEXT:b]", train=PAIRS, test=PAIRS, metrics=metrics)
        for name in "tu"
    ]
    generalist = Generalist.create(tasks, registry=Registry.discover(), **SMALL)
    with pytest.raises(EvaluationError) as caught:
        generalist.evaluate(max_length=3)
    said = "task 't', metric 'moody' on slot 'b': KeyError: 'no such\\nword'; under tasks.t.metrics choose"
    assert said in str(caught.value) and len(caught.value.failures) == 2
    found = {(row.task, row.metric): row for row in caught.value.scores}
    assert set(found) == {
        (task, metric) for task in "tu" for metric in ("exact_match", "moody", "cer")
    }
    assert math.isfinite(found["u", "cer"].score) and found["u", "moody"].problem.startswith(
        "KeyError"
    )
    assert (
        found["t", "moody"].beats_baseline is None and found["t", "moody"].plain()["score"] is None
    )


@pytest.mark.usefixtures("with_moody")
def test_a_run_ends_with_its_report_all_the_same(tmp_path: Path) -> None:
    task = Task(
        "t", "[TEXT:a] -> [TEXT:b]", train=PAIRS, test=PAIRS, metrics=uses("moody", "exact_match")
    )
    generalist = Generalist.create([task], registry=Registry.discover(), **SMALL)
    generalist.fit(1, out=tmp_path / "run", **QUIET)
    console = Console(file=StringIO(), width=200)
    finish(generalist, tmp_path / "run", console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "not scored: t, metric 'moody' on slot 'b': KeyError" in shown
    assert "not scored: KeyError" in (tmp_path / "run" / "report.html").read_text()
    scores = json.loads(
        (tmp_path / "run" / "scores.json").read_text(),
        parse_constant=lambda name: pytest.fail(name),
    )
    assert [(row["metric"], row["score"] is None) for row in scores] == [
        ("moody", True),
        ("exact_match", False),
    ]


@pytest.mark.usefixtures("with_moody")
def test_a_baseline_that_cannot_be_judged_does_not_stop_a_run() -> None:
    task = Task("t", "[TEXT:a] -> [TEXT:b]", train=PAIRS, test=PAIRS, metrics=uses("moody"))
    generalist = Generalist.create([task], registry=Registry.discover(), **SMALL)
    data = SimpleNamespace(
        splits=generalist.data["t"].splits,
        train=PAIRS,
        baseline_doc="copy",
        baseline_rows=lambda: [{"b": "x"}] * 6,
    )
    generalist.data["t"] = data  # type: ignore[assignment]
    console = Console(file=StringIO(), width=200)
    print_tasks(generalist, console)
    assert "not scored: KeyError" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("with_moody")
def test_the_command_prints_everything_and_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ofa_cli.main import main

    (tmp_path / "rows.csv").write_text(
        "a,b\n" + "".join(f"{row['a']},{row['b']}\n" for row in PAIRS)
    )
    data = str(tmp_path / "rows.csv")
    task = Task(
        "t", "[TEXT:a] -> [TEXT:b]", train=data, test=data, metrics=uses("moody", "exact_match")
    )
    Generalist.create([task], registry=Registry.discover(), **SMALL).save(tmp_path / "saved")
    with pytest.raises(SystemExit) as ended:
        main(["eval", str(tmp_path / "saved"), "--json"])
    out, err = capsys.readouterr()
    rows = json.loads(out)
    assert ended.value.code == 2 and [row["metric"] for row in rows] == ["moody", "exact_match"]
    assert (
        rows[1]["score"] is not None
        and "task 't', metric 'moody'" in err
        and "Traceback" not in err
    )
    with pytest.raises(EvaluationError):
        evaluate_run(tmp_path / "saved", ["t"])


def test_the_best_checkpoint_by_a_generated_metric(tmp_path: Path) -> None:
    rows = [{"a": f"{word} {i}", "b": word} for word in ("cat", "dog") for i in range(4)]
    task = Task(
        "t", "[TEXT:a] -> [TEXT:b,closed_set]", train=rows, valid=rows, metrics=uses("accuracy")
    )
    generalist = Generalist.create([task], **SMALL)
    checks = {"every": 5, "generate": True, "samples": 8}
    generalist.fit(
        25,
        out=tmp_path / "run",
        validation=checks,
        checkpoint={"best": "t/accuracy", "keep_last": 1},
        **QUIET,
    )
    lines = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    scores = {
        line["step"]: line["valid/t/accuracy"] for line in lines if "valid/t/accuracy" in line
    }
    assert sorted(scores) == [5, 10, 15, 20, 25]
    pointer = json.loads((tmp_path / "run" / "checkpoints" / "best").read_text())
    best = max(scores.values())
    assert pointer["score"] == best == 1.0
    assert pointer["step"] == min(step for step, score in scores.items() if score == best)
    loaded = Generalist.from_pretrained(tmp_path / "run", which="best")
    assert [row.score for row in loaded.evaluate(data={"t": rows})] == [1.0]


def test_best_by_an_unmeasured_name_is_refused_before_the_first_step(tmp_path: Path) -> None:
    task = Task("t", "[TEXT:a] -> [TEXT:b]", train=PAIRS, valid=PAIRS, metrics=uses("exact_match"))
    generalist = Generalist.create([task], **SMALL)
    with pytest.raises(Exception, match=r"validation.generate: true"):
        generalist.fit(2, out=tmp_path / "run", checkpoint={"best": "t/exact_match"}, **QUIET)
    assert not (tmp_path / "run").exists()
