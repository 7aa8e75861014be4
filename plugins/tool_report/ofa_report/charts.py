"""Charts as SVG to stand in a page: drawn by matplotlib, with axes and legends, and nothing to load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from io import StringIO
from typing import Any

Point = tuple[float, float]
_SHORT = 3
"""Letters of names that stand side by side below a matrix; longer ones are turned."""
_COLOURS = ("#3b6fb6", "#d1733b", "#4b9b5f", "#9a5bb0", "#8a6d3b", "#555555")
_STYLE = {
    "svg.fonttype": "none",
    "font.size": 9,
    "font.family": ["sans-serif"],
    "font.sans-serif": [
        "DejaVu Sans"
    ],  # the fallbacks of the default would be written with each word
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def line_chart(
    title: str, lines: Mapping[str, Sequence[Point]], x: str, y: str, diagonal: str = ""
) -> str:
    """Lines through (x, y) points with the names of the axes; ``diagonal`` names a line of x = y between 0 and 1.

    Without a diagonal x counts something: it has whole numbers.
    """
    drawn = {name: points for name, points in lines.items() if points}
    if not drawn:
        return ""
    from matplotlib.ticker import MaxNLocator

    with _figure(title, (5.2, 3.0)) as (figure, svg):
        axes = figure.subplots()
        if diagonal:
            axes.plot([0, 1], [0, 1], color="#999", linestyle=":", label=diagonal)
        for number, (name, points) in enumerate(drawn.items()):
            marker = "o" if len(points) < 15 else ""
            colour = _COLOURS[number % len(_COLOURS)]
            xs, ys = zip(*points, strict=True)
            axes.plot(xs, ys, label=_text(name), color=colour, marker=marker, markersize=3)
        axes.set(xlabel=x, ylabel=y, title=_text(title))
        if not diagonal:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize=8)
    return _inline(title, svg)


def matrix_chart(title: str, names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """A confusion matrix: references from top to bottom, answers from left to right, counts as numbers and shades."""
    size = 2.2 + 0.32 * len(names)
    with _figure(title, (size + 0.8, size)) as (figure, svg):
        axes = figure.subplots()
        shades = [_shares(row) for row in counts]
        shaded = axes.imshow(shades, cmap="Blues", vmin=0, vmax=1, interpolation="none")
        for row, line in enumerate(counts):
            for column, count in enumerate(line):
                colour = "white" if shades[row][column] > 0.5 else "#333"
                if count:
                    text = str(count)
                    axes.text(column, row, text, ha="center", va="center", color=colour)
        ticks = range(len(names))
        labels = [_text(name, 24) for name in names]
        upright = all(len(label) <= _SHORT for label in labels)
        angle = 0 if upright else 90
        axes.set_xticks(ticks, labels, rotation=angle)
        axes.set_yticks(ticks, labels)
        axes.set(xlabel="answer", ylabel="reference", title=_text(title))
        figure.colorbar(shaded, label="share of the reference's rows")
    return _inline(title, svg)


def _shares(counts: Sequence[int]) -> list[float]:
    whole = max(1, sum(counts))
    return [count / whole for count in counts]


def interval_chart(title: str, rows: Sequence[tuple[str, str, float, float, float]], x: str) -> str:
    """One line a row from low to high with its middle: (row, group, middle, low, high); groups are in the legend."""
    if not rows:
        return ""
    groups = list(dict.fromkeys(group for _, group, *_ in rows))
    with _figure(title, (6.0, 1.2 + 0.3 * len(rows))) as (figure, svg):
        axes = figure.subplots()
        axes.axvline(0, color="#999", linestyle=":")
        for number, group in enumerate(groups):
            own = [(place, row) for place, row in enumerate(rows) if row[1] == group]
            middles = [row[2] for _, row in own]
            below = [row[2] - row[3] for _, row in own]
            above = [row[4] - row[2] for _, row in own]
            axes.errorbar(
                middles,
                [place for place, _ in own],
                xerr=[below, above],
                fmt="o",
                capsize=3,
                color=_COLOURS[number % len(_COLOURS)],
                label=_text(group),
            )
        axes.set_yticks(range(len(rows)), [_text(row[0]) for row in rows])
        axes.set(xlabel=x, title=_text(title), ylim=(len(rows) - 0.5, -0.5))
        axes.legend(fontsize=8)
    return _inline(title, svg)


@contextmanager
def _figure(title: str, inches: tuple[float, float]) -> Iterator[tuple[Any, StringIO]]:
    """An empty figure; behind the block the stream holds its SVG. Nothing of matplotlib's own state is changed."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    svg = StringIO()
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": title}):
        figure = Figure(figsize=inches, layout="constrained")
        yield figure, svg
        unsaid = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(svg, metadata=unsaid)


def _inline(title: str, svg: StringIO) -> str:
    """The SVG element alone, as it may stand in HTML."""
    text = svg.getvalue()
    return f"<figure role='img' aria-label='{escape(title)}'>{text[text.index('<svg') :]}</figure>"


def _text(name: str, most: int = 60) -> str:
    """A name as it is: matplotlib would read formulas between dollar signs, and hide names that begin with ``_``."""
    shown = name if len(name) <= most else f"{name[: most - 1]}…"
    shown = shown.replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown
