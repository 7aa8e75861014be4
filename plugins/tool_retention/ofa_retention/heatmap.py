"""A matrix of tasks as inline SVG: blue helps, red harms."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

CELL, LEFT, TOP = 34, 150, 140
_HELPS, _HARMS = (59, 111, 182), (182, 59, 59)
_NUMBERS = 16
"""Most tasks whose cells hold their numbers; of more, a cell tells it when it is pointed at."""


def heatmap(tasks: Sequence[str], values: np.ndarray, rows: str, columns: str, unit: float) -> str:
    """A picture of a matrix [tasks, tasks].

    Args:
        tasks: Names of rows and columns.
        values: The cells; what is not a number stays white.
        rows: What a row is, for its axis.
        columns: What a column is.
        unit: Cells show ``value / unit``.
    """
    off = values[~np.eye(len(tasks), dtype=bool)]
    known = np.abs(off[np.isfinite(off)])
    most = float(known.max()) if len(known) and known.max() > 0 else 1.0
    parts = [_text(LEFT, 16, f"{rows}  \u2193   {columns}  \u2192", "start", "#555")]
    for place, task in enumerate(tasks):
        middle = place * CELL + CELL / 2
        parts.append(_text(LEFT - 6, TOP + middle + 4, task, "end"))
        parts.append(_turned(LEFT + middle + 4, TOP - 6, task))
    for row, one in enumerate(tasks):
        for column, other in enumerate(tasks):
            told = f"{one}, {other}"
            parts.append(
                _cell(row, column, float(values[row, column]), most, unit, told, len(tasks))
            )
    size = len(tasks) * CELL
    width, height = LEFT + size + 90, TOP + size + 40
    parts.append(_legend(most, unit, LEFT, TOP + size + 14))
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'aria-label="{escape(rows)}, {escape(columns)}" font-family="system-ui,sans-serif" font-size="12">'
        f"{''.join(parts)}</svg></figure>"
    )


def _cell(
    row: int, column: int, value: float, most: float, unit: float, told: str, tasks: int
) -> str:
    x, y = LEFT + column * CELL, TOP + row * CELL
    if not np.isfinite(value):
        return f'<rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" fill="#fff" stroke="#eee"/>'
    shown = f"{value / unit:.2f}" if abs(value / unit) < 10 else f"{value / unit:.0f}"
    number = ""
    if tasks <= _NUMBERS:
        number = _text(x + CELL / 2, y + CELL / 2 + 4, shown, "middle")
    return (
        f'<g><title>{escape(told)}: {shown}</title><rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" '
        f'fill="{_colour(value / most)}" stroke="#fff"/>{number}</g>'
    )


def _colour(share: float) -> str:
    """White at 0, full at the largest cell off the diagonal."""
    strength = min(1.0, abs(share)) * 0.85
    end = _HELPS if share > 0 else _HARMS
    mixed = [round(255 + (part - 255) * strength) for part in end]
    return f"rgb({mixed[0]},{mixed[1]},{mixed[2]})"


def _legend(most: float, unit: float, x: float, y: float) -> str:
    parts = []
    for number in range(21):
        colour = _colour(number / 10 - 1)
        parts.append(
            f'<rect x="{x + 40 + number * 6}" y="{y}" width="6" height="12" fill="{colour}"/>'
        )
    parts.append(_text(x + 36, y + 11, f"{-most / unit:.2g}", "end", "#555"))
    parts.append(_text(x + 170, y + 11, f"{most / unit:.2g}", "start", "#555"))
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _turned(x: float, y: float, text: str) -> str:
    return f'<text transform="translate({x:.1f},{y:.1f}) rotate(-55)" fill="#222">{escape(text)}</text>'
