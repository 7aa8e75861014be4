"""Line charts as inline SVG: a report needs no library and no network to be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import isfinite

WIDTH, HEIGHT, LEFT, BOTTOM = 360, 180, 44, 22
Point = tuple[float, float]


def chart(title: str, lines: Mapping[str, Sequence[Point]]) -> str:
    """One chart of (step, value) lines; values that are not finite are left out. Empty lines draw nothing."""
    kept = {name: _finite(points) for name, points in lines.items()}
    points = [point for line in kept.values() for point in line]
    if not points:
        return ""
    x_low, x_high = _limits([x for x, _ in points])
    y_low, y_high = _limits([y for _, y in points])

    def place(point: Point) -> str:
        x = LEFT + (point[0] - x_low) / (x_high - x_low) * (WIDTH - LEFT - 8)
        y = 8 + (y_high - point[1]) / (y_high - y_low) * (HEIGHT - BOTTOM - 16)
        return f"{x:.1f},{y:.1f}"

    colours = ("#3b6fb6", "#d1733b", "#4b9b5f", "#9a5bb0")
    drawn = "".join(
        f'<polyline fill="none" stroke="{colours[i % 4]}" stroke-width="1.5" points="{" ".join(map(place, line))}">'
        f"<title>{escape(name)}</title></polyline>"
        for i, (name, line) in enumerate(kept.items())
    )
    return (
        f'<figure><div class="title">{escape(title)}</div><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}"><path d="M{LEFT},8V{HEIGHT - BOTTOM}H{WIDTH - 8}" fill="none" stroke="#999"/>'
        f"{_label(4, 14, f'{y_high:.3g}')}{_label(4, HEIGHT - BOTTOM, f'{y_low:.3g}')}"
        f"{_label(LEFT, HEIGHT - 6, f'{x_low:.0f}')}{_label(WIDTH - 44, HEIGHT - 6, f'{x_high:.0f}')}"
        f"{drawn}</svg></figure>"
    )


def _finite(points: Sequence[Point]) -> list[Point]:
    return [(x, y) for x, y in points if isfinite(y)]


def _label(x: int, y: int, text: str) -> str:
    return f'<text x="{x}" y="{y}" font-size="11" fill="#666">{text}</text>'


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
