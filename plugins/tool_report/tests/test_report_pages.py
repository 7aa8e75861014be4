"""Pages and comparisons, from the files of runs that were scored."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from ofa_cli.plugin_commands import plugin_command
from ofa_report.calibration import calibrated_slots, calibration
from ofa_report.classes import class_scores, confusion, pairs
from ofa_report.comparing import differences, read_runs
from ofa_report.paired import paired_interval
from ofa_report.run_page import write_run_page
from ofacore.evaluation.predictions import Prediction
from ofacore.evaluation.report import Sample, ScoreRow
from ofacore.evaluation.results import ResultsError, write_results
from ofacore.evaluation.runner import Evaluation
from ofacore.plugin import UserError

NAMES = ("cat", "dog", "a <b> & $c$", "_d")
RNG = np.random.default_rng(0)
TRUTH = [NAMES[i] for i in RNG.integers(0, 4, 200)]


def answers(share: float, seed: int) -> list[str]:
    """Right in about this share of the rows."""
    rng = np.random.default_rng(seed)
    return [t if rng.random() < share else NAMES[rng.integers(0, 3)] for t in TRUTH]


def predictions(given: list[str], folder: str = "/data") -> list[Prediction]:
    sure = np.random.default_rng(5).uniform(0.3, 1.0, len(given))
    return [
        Prediction(
            f"{folder}/test.jsonl:{i}",
            {"kind": answer},
            {"kind": truth},
            {"accuracy": float(answer == truth)},
            {"kind": float(sure[i])},
            ["kind"],
            float(np.log(sure[i])),
        )
        for i, (answer, truth) in enumerate(zip(given, TRUTH, strict=True))
    ]


def scored(folder: Path, given: list[str], data: str = "/data") -> Path:
    """A run folder with curves, scores, predictions and samples."""
    found = predictions(given, data)
    score = float(np.mean([one.scores["accuracy"] for one in found]))
    row = ScoreRow(
        "what <is> it", "accuracy", score, score - 0.05, score + 0.05, 0.3, "majority", 200
    )
    note = f"{found[0].row}: accuracy 0"
    samples = [
        Sample(
            "what <is> it",
            "[TEXT:a] -> [TEXT:kind]",
            "<b>a</b> x",
            "<b>kind</b> <i>y</i>",
            "z",
            text,
        )
        for text in ("", note)
    ]
    folder.mkdir()
    steps = [
        {
            "step": s,
            "train/what <is> it/kind": 3 / s,
            "valid/what <is> it/kind/loss": 4 / s,
            "valid/what <is> it/accuracy": s / 9,
        }
        for s in (1, 2, 3)
    ]
    text = "".join(json.dumps(line) + "\n" for line in steps)
    (folder / "metrics.jsonl").write_bytes(text.encode() + b'\x93\x00\n{"step": 4, "tr')
    write_results(folder, [Evaluation("what <is> it", [row], samples, predictions=found)])
    return folder


class Links(HTMLParser):
    """Everything that a browser would ask somebody for, and whether elements are closed as they are opened."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        for name in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
            value = values.get(name) or ""
            if value and not value.startswith(("#", "data:")):
                self.asked.append(value)


def test_the_page_of_a_run_has_everything_and_asks_for_nothing(tmp_path: Path) -> None:
    text = write_run_page(scored(tmp_path / "run", answers(0.7, 1))).read_text()
    for expected in ("95 % interval", "precision", "surest first", "expected error", "Samples"):
        assert expected in text
    assert "training: kind" in text and "validation: kind/loss" in text  # legends
    for axis in (">step<", ">loss<", ">metric<", ">share right<", ">answer<", ">reference<"):
        assert axis in text
    assert "what &lt;is&gt; it" in text and "<is>" not in text and "a &lt;b&gt; &amp; $c$" in text
    links = Links()
    links.feed(text)
    assert not links.asked and "script" not in links.tags and links.tags.count("svg") == 4
    assert not re.search(r"@import|url\((?!#)", text) and "default-src 'none'" in text
    assert len(text) < 250_000 and ">0.300 (majority)</span></td><td>better</td>" in text


def test_a_metric_that_was_measured_once_is_no_chart(tmp_path: Path) -> None:
    folder = scored(tmp_path / "run", answers(0.7, 1))
    first, *_ = (folder / "metrics.jsonl").read_text(errors="replace").splitlines()
    (folder / "metrics.jsonl").write_text(first + "\n")
    text = write_run_page(folder).read_text()
    assert "validation: kind/loss" in text and "validation: accuracy" not in text


def test_classes_are_those_of_sklearn() -> None:
    given = pairs(predictions(answers(0.6, 2)), "kind")
    found = class_scores(given)
    names = [one.name for one in found]
    truth, guess = zip(*given, strict=True)
    measured = precision_recall_fscore_support(truth, guess, labels=names, zero_division=np.nan)
    ours = [[one.precision, one.recall, one.f1, one.count] for one in found]
    assert pytest.approx(np.array(measured), nan_ok=True) == np.array(ours).T
    assert confusion(given, names) == confusion_matrix(truth, guess, labels=names).tolist()
    assert [one.count for one in found] == sorted((one.count for one in found), reverse=True)


def test_of_several_references_the_one_that_was_met_counts() -> None:
    both = {"kind": ["cat", "dog"]}
    rows = [Prediction("1", {"kind": "dog"}, both), Prediction("2", {"kind": "cow"}, both)]
    assert pairs(rows, "kind") == [("dog", "dog"), ("cat", "cow")]


def test_a_model_that_is_as_right_as_it_is_sure_is_calibrated() -> None:
    rng = np.random.default_rng(3)
    sure = rng.uniform(0.2, 1.0, 20_000)
    rows = [
        Prediction("", {"k": "a"}, {"k": "a" if lucky else "b"}, {}, {"k": float(p)})
        for p, lucky in zip(sure, rng.random(20_000) < sure, strict=True)
    ]
    found = calibration(rows, "k")
    assert found is not None and found.error < 0.02 and sum(b.count for b in found.bins) == 20_000
    always = [Prediction("", {"k": "a"}, {"k": "b"}, {}, {"k": 1.0}, ["k"])] * 5
    never = [Prediction("", {"k": "1.5"}, {"k": "1.6"}, {}, {"k": 0.1})] * 5
    assert calibration(never, "k") is None  # an open value that is never right, as a number
    wrong = calibration(always, "k")
    assert wrong is not None and wrong.error == 1.0
    assert calibration(always, "other") is None
    boxes = [Prediction("", {"b": [1.0, 2.0]}, {"b": [1.0, 2.0]}, {}, {"b": 0.5})]
    assert calibrated_slots(always) == ["k"] and calibrated_slots(boxes) == []


def test_runs_are_compared_row_by_row(tmp_path: Path) -> None:
    good, bad = answers(0.9, 4), answers(0.5, 6)
    folders = [
        scored(tmp_path / "first", bad),
        scored(tmp_path / "second", good, "/elsewhere"),
        scored(tmp_path / "again", bad),
    ]
    better, same = differences(read_runs(folders))
    gains = [float(g == t) - float(b == t) for g, b, t in zip(good, bad, TRUTH, strict=True)]
    assert better.difference == pytest.approx(np.mean(gains)) and better.rows == 200
    error = np.std(gains) / np.sqrt(200)
    assert better.low == pytest.approx(np.mean(gains) - 1.96 * error, abs=0.01)
    assert (better.verdict, same.verdict) == ("better", "not told apart")
    worse, _ = differences(read_runs([folders[1], folders[0], folders[2]]))
    assert worse.verdict == "worse" and worse.difference == pytest.approx(-better.difference)


def test_paired_intervals_know_small_numbers_and_agree_with_the_bootstrap() -> None:
    low, high = paired_interval([1.0] * 10, [1.0] * 10)
    assert low < -0.2 and high > 0.2
    # Newcombe (1998), table II: 36 both, 12 the first alone, 2 the second alone, 0 neither: 0.0569 to 0.3404
    before = [1.0] * 36 + [1.0] * 12 + [0.0] * 2
    after = [1.0] * 36 + [0.0] * 12 + [1.0] * 2
    low, high = paired_interval(after, before)
    assert (low, high) == pytest.approx((0.0569, 0.3404), abs=1e-4)
    rng = np.random.default_rng(1)
    old = rng.normal(size=300)
    gains = rng.normal(0.1, 0.5, 300)
    low, high = paired_interval(list(old), list(old + gains))
    middle, error = gains.mean(), gains.std() / np.sqrt(300)
    assert (low, high) == pytest.approx((middle - 1.96 * error, middle + 1.96 * error), abs=0.01)


def test_rows_that_are_not_the_same_are_left_out_of_a_comparison(tmp_path: Path) -> None:
    folder = scored(tmp_path / "first", answers(0.5, 1))
    other = scored(tmp_path / "second", answers(0.5, 2))
    changed = predictions(answers(0.5, 2))[:50]
    changed[0] = Prediction(changed[0].row, {}, {"kind": "another"}, {"accuracy": 1.0})
    row = ScoreRow("what <is> it", "accuracy", 0.5, 0.4, 0.6, None, "", 50)
    write_results(other, [Evaluation("what <is> it", [row], [], predictions=changed)])
    (found,) = differences(read_runs([folder, other]))
    assert (found.rows, found.unlike) == (49, 1)


def test_the_command_prints_tables_and_writes_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = str(scored(tmp_path / "first", answers(0.5, 1)))
    second = str(scored(tmp_path / "second", answers(0.9, 2)))
    monkeypatch.chdir(tmp_path)
    command = plugin_command("report")

    def printed(*arguments: str) -> str:
        command.main(list(arguments), standalone_mode=False)
        return capsys.readouterr().out

    alone = printed(first)
    assert (
        "0.300 (majority)" in alone
        and "classes of kind" in alone
        and "expected calibration error" in alone
    )
    assert (tmp_path / "first" / "report.html").is_file()
    both = printed(first, second)
    assert "differences to first" in both and "better" in both
    page = (tmp_path / "comparison.html").read_text()
    links = Links()
    links.feed(page)
    assert not links.asked and "difference to first, with its 95 % interval" in page
    with pytest.raises(UserError, match="name another file with --out"):
        command.main([first, second], standalone_mode=False)
    found = json.loads(printed(first, second, "--json", "--out", "b.html"))
    assert found["differences"][0]["verdict"] == "better"


def test_a_run_without_scores_is_told(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="has no scores.json: score it with `ofa eval"):
        read_runs([tmp_path])
    folder = scored(tmp_path / "run", answers(0.5, 1))
    (folder / "predictions" / "what %3Cis%3E it.jsonl").write_text("{\n")
    with pytest.raises(ResultsError, match="cannot be read"):
        read_runs([folder])


def test_a_report_loads_no_torch_and_its_command_no_charts() -> None:
    code = "import ofa_report.run_page, sys; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
