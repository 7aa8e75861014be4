"""``report.html``: bars of what is kept of each task, tables, and what was asked. One file, no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import isfinite

from ofa_retention.bars import Bar, bars
from ofa_retention.figures import Mean, Retained
from ofa_retention.printing import short

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:1000px;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}.bad{color:#a33}
pre{background:#f4f4f4;padding:.6rem;overflow-x:auto;font-size:12px}figcaption{color:#555}figure{margin:1rem 0}
.curves{display:flex;flex-wrap:wrap;gap:.5rem}.curves figure{width:320px;margin:0}.title{font-size:13px;color:#555}
"""
_HEADS = (
    "task",
    "metric",
    "baseline",
    "specialist",
    "generalist",
    "difference",
    "95 % interval",
    "ratio",
    "normalised",
    "samples",
)


def page(
    title: str,
    rows: Sequence[Retained],
    shifted: Sequence[Retained],
    means: Sequence[Mean],
    settings: str,
    extra: str = "",
) -> str:
    """The whole page.

    Args:
        title: What was compared.
        rows: All variants and tasks.
        shifted: Rows of other sources.
        means: All variants.
        settings: The settings, as text.
        extra: Further sections, as HTML.
    """
    gained = _with_gain(rows)
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(title)}</title>",
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>",
        _means(means),
        "<h2>What is kept of what the specialist gains over the baseline</h2>",
        bars(_bars(gained, "normalised"), "0: baseline, 1: specialist", 1.0),
        _without_gain(rows, gained),
        "<h2>Score beside the specialist's</h2>",
        bars(_bars(rows, "ratio"), "generalist / specialist; of errors the other way round", 1.0),
        "<h2>Scores</h2>",
        *_tables(rows),
        *(["<h2>Rows of other sources</h2>", *_tables(shifted)] if shifted else []),
        extra,
        f"<h2>Settings</h2><pre>{escape(settings)}</pre></html>\n",
    ]
    return "\n".join(parts)


def _bars(rows: Sequence[Retained], measure: str) -> dict[str, list[Bar]]:
    """Task -> a bar for each variant."""
    found: dict[str, list[Bar]] = {}
    for row in rows:
        low, high = float("nan"), float("nan")
        if measure == "normalised":
            low, high = row.normalised_low, row.normalised_high
        bar = Bar(row.variant, getattr(row, measure), low, high)
        found.setdefault(row.task, []).append(bar)
    return found


def _with_gain(rows: Sequence[Retained]) -> list[Retained]:
    """Those of tasks of which some variant has a number."""
    known = {row.task for row in rows if isfinite(row.normalised)}
    return [row for row in rows if row.task in known]


def _without_gain(rows: Sequence[Retained], gained: Sequence[Retained]) -> str:
    left = {row.task for row in rows} - {row.task for row in gained}
    if not left:
        return ""
    names = ", ".join(dict.fromkeys(row.task for row in rows if row.task in left))
    told = (
        "Where there is no baseline or no score, or the specialist is not above the baseline by the interval, "
        "there is no gain to keep"
    )
    return f"<p>{told}: {escape(names)}.</p>"


def _means(means: Sequence[Mean]) -> str:
    heads = ("generalist", "tasks", "ratio", "normalised", "above baseline", "parameters", "time")
    lines = [
        (
            mean.variant,
            str(mean.tasks),
            f"{mean.ratio:.3f} ({mean.ratio_low:.3f} to {mean.ratio_high:.3f})",
            _normalised(mean),
            f"{mean.clear} of {mean.tasks}",
            f"{mean.parameters / 1e6:.2f} M of {mean.specialists_parameters / 1e6:.2f} M",
            f"{mean.seconds:.0f} s of {mean.specialists_seconds:.0f} s",
        )
        for mean in means
    ]
    told = (
        "Means over tasks, with 95 % intervals over rows, seeds and tasks; parameters and time beside "
        "those of all specialists together."
    )
    return _table(heads, lines) + f"<p>{told}</p>"


def _normalised(mean: Mean) -> str:
    if not isfinite(mean.normalised):
        return ""
    return f"{mean.normalised:.3f} ({mean.normalised_low:.3f} to {mean.normalised_high:.3f})"


def _tables(rows: Sequence[Retained]) -> list[str]:
    found: list[str] = []
    for variant in dict.fromkeys(row.variant for row in rows):
        own = [_cells(row) for row in rows if row.variant == variant]
        found += [f"<h3>{escape(variant)}</h3>", _table(_HEADS, own)]
    told = [f"{row.variant}, {row.task}: {row.problem}" for row in rows if row.problem]
    return [*found, *(f"<p class='bad'>{escape(line)}</p>" for line in told)]


def _cells(row: Retained) -> tuple[str, ...]:
    known = isfinite(row.difference_low)
    interval = f"{row.difference_low:+.3f} to {row.difference_high:+.3f}" if known else ""
    baseline = f"{short(row.baseline)} ({row.baseline_doc})" if isfinite(row.baseline) else ""
    arrow = "" if row.higher_is_better else " (less is better)"
    return (
        row.task,
        row.metric + arrow,
        baseline,
        short(row.specialist),
        short(row.generalist),
        short(row.difference),
        interval,
        short(row.ratio),
        short(row.normalised),
        str(row.samples),
    )


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = _line("th", heads)
    body = "".join(_line("td", line) for line in lines)
    return f"<table>{head}{body}</table>"


def _line(tag: str, cells: Sequence[str]) -> str:
    marked = "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)
    return f"<tr>{marked}</tr>"
