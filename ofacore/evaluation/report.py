"""``report.html`` of a run: scores, loss curves, and samples as a person would look at them. One file, no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from math import isfinite
from pathlib import Path
from typing import Any

from ofacore.evaluation.curves import Point, chart

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse}td,th{padding:.25rem .8rem;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child,td:nth-child(2),th:nth-child(2){text-align:left}.curves{display:flex;flex-wrap:wrap;gap:.5rem}
figure{margin:0;width:350px}.title{font-size:13px;color:#555}.samples{display:flex;flex-wrap:wrap;gap:1rem}
.sample{border:1px solid #ddd;border-radius:6px;padding:.6rem;max-width:320px}
.sample img,.sample svg{max-width:100%;min-width:96px}
.slot{margin:.2rem 0}.good{color:#2c7a3d}.flat{color:#a33}code{background:#f4f4f4;padding:0 .2rem}
"""


@dataclass(frozen=True)
class ScoreRow:
    """A task's line in the table of scores."""

    task: str
    metric: str
    score: float
    low: float
    high: float
    """Ends of the 95 % bootstrap interval."""
    baseline: float | None
    baseline_doc: str
    samples: int
    higher_is_better: bool = True
    problem: str = ""
    """Why there is no score; empty where there is one."""
    left_out: int = 0
    """Rows of the split that could not be judged: they have no reference, or cannot be used."""

    @property
    def rows(self) -> str:
        """How many rows were judged, and how many were not."""
        return f"{self.samples} ({self.left_out} left out)" if self.left_out else str(self.samples)

    @property
    def beats_baseline(self) -> bool | None:
        """Whether the interval excludes the baseline on the good side; None without a baseline or a score."""
        if self.baseline is None or self.problem:
            return None
        return self.low > self.baseline if self.higher_is_better else self.high < self.baseline

    def plain(self) -> dict[str, Any]:
        """As JSON has it: numbers that are not finite are null."""
        values = asdict(self)
        return {
            k: None if isinstance(v, float) and not isfinite(v) else v for k, v in values.items()
        }


@dataclass(frozen=True)
class Sample:
    """A held-out row with the model's answer, as HTML fragments."""

    task: str
    instruction: str
    inputs: str
    answer: str
    reference: str


def write_report(
    folder: Path, name: str, scores: Sequence[ScoreRow], samples: Sequence[Sample]
) -> Path:
    """Write ``report.html`` into a run folder; loss curves are read from its ``metrics.jsonl``."""
    body = [
        f"<h1>{escape(name)}</h1>",
        _table(scores),
        "<h2>Loss</h2><div class='curves'>",
        *(chart(title, lines) for title, lines in _curves(folder / "metrics.jsonl").items()),
        "</div>",
        *_samples(samples),
    ]
    page = f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(name)}</title><style>{_STYLE}</style>"
    path = folder / "report.html"
    path.write_text(page + "\n".join(body) + "</html>", encoding="utf-8")
    return path


def _table(scores: Sequence[ScoreRow]) -> str:
    head = "<tr><th>task</th><th>metric</th><th>score</th><th>95 % interval</th><th>baseline</th><th>rows</th></tr>"
    rows = []
    for row in scores:
        colour = {True: "good", False: "flat", None: ""}[row.beats_baseline]
        baseline = (
            "" if row.baseline is None else f"{row.baseline:.3f} ({escape(row.baseline_doc)})"
        )
        interval = f"{row.low:.3f} to {row.high:.3f}" if isfinite(row.low) else ""
        score = f"<td class='{colour}'>{row.score:.3f}</td><td>{interval}</td><td>{baseline}</td>"
        if row.problem:
            score = f"<td class='flat' colspan='3'>not scored: {escape(row.problem)}</td>"
        rows.append(
            f"<tr><td>{escape(row.task)}</td><td>{escape(row.metric)}</td>{score}<td>{row.rows}</td></tr>"
        )
    return f"<h2>Scores on held-out rows</h2><table>{head}{''.join(rows)}</table>" if rows else ""


def _curves(path: Path) -> dict[str, dict[str, list[Point]]]:
    """Task -> line name -> points: training losses ``train/task/slot``, and names that end in ``loss``."""
    curves: dict[str, dict[str, list[Point]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        record = json.loads(line)
        for name, value in record.get("values", record).items():
            parts = name.split("/")
            training = parts[0] == "train" and len(parts) == 3
            if (
                (training or parts[-1] == "loss")
                and len(parts) > 2
                and isinstance(value, int | float)
            ):
                lines = curves.setdefault(parts[1], {})
                lines.setdefault("/".join([parts[0], *parts[2:]]), []).append(
                    (float(record["step"]), float(value))
                )
    return curves


def _samples(samples: Sequence[Sample]) -> list[str]:
    parts: list[str] = []
    for task in dict.fromkeys(sample.task for sample in samples):
        chosen = [sample for sample in samples if sample.task == task]
        parts += [
            f"<h2>{escape(task)}</h2><p><code>{escape(chosen[0].instruction)}</code></p><div class='samples'>"
        ]
        parts += [
            f"<div class='sample'>{s.inputs}<hr>{s.answer}<div class='slot'><b>reference</b> {s.reference}</div></div>"
            for s in chosen
        ]
        parts += ["</div>"]
    return parts
