"""Horizontal bars as inline SVG: a group for each task, a colour for each generalist, with axis and legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite

WIDTH, LEFT, RIGHT = 900, 210, 60
THICK, GAP = 14, 12
COLOURS = ("#3b6fb6", "#d1733b", "#4b9b5f", "#9a5bb0", "#8a7a3b", "#b64a6b")
_FARTHEST = (-0.5, 2.0)
"""Bars that reach farther end here, so that one task does not flatten all others; their number stands beside."""


@dataclass(frozen=True)
class Bar:
    """One bar; without a number it says so."""

    variant: str
    value: float
    low: float
    high: float
    """Ends of its interval; nan: not known."""


def bars(groups: Mapping[str, Sequence[Bar]], axis: str, reference: float) -> str:
    """All groups below each other, a line at the reference."""
    if not groups:
        return ""
    scale = _Scale.of([bar for own in groups.values() for bar in own], reference)
    variants = list(dict.fromkeys(bar.variant for own in groups.values() for bar in own))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(variants)}
    parts, y = [_legend(variants, colours)], 34
    top = y
    for task, own in groups.items():
        middle = y + len(own) * THICK / 2 + 4
        parts.append(_text(LEFT - 8, middle, task, "end"))
        for bar in own:
            parts.append(_bar(bar, y, scale, colours[bar.variant]))
            y += THICK
        y += GAP
    parts.append(_axis(scale, top, y, axis, reference))
    label = escape(f"bars: {axis}")
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {y + 44}" width="{WIDTH}" role="img" aria-label="{label}" '
        f'font-family="system-ui,sans-serif" font-size="12">{"".join(parts)}</svg></figure>'
    )


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float

    @classmethod
    def of(cls, found: Sequence[Bar], reference: float) -> _Scale:
        values = [v for bar in found for v in (bar.value, bar.low, bar.high) if isfinite(v)]
        low = max(_FARTHEST[0], min([0.0, *values]))
        high = min(_FARTHEST[1], max([reference * 1.15, *values]))
        return cls(low, high)

    def x(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return LEFT + (inside - self.low) / (self.high - self.low) * (WIDTH - LEFT - RIGHT)


def _bar(bar: Bar, y: float, scale: _Scale, colour: str) -> str:
    if not isfinite(bar.value):
        return _text(scale.x(0) + 6, y + 11, "not known", "start", "#999")
    zero, end = scale.x(0), scale.x(bar.value)
    told = f"{bar.variant}: {bar.value:.3f}"
    whisker = ""
    if isfinite(bar.low) and isfinite(bar.high):
        told += f" ({bar.low:.3f} to {bar.high:.3f})"
        middle = y + THICK / 2 - 1
        ends = f"M{scale.x(bar.low):.1f},{middle}H{scale.x(bar.high):.1f}"
        whisker = f'<path d="{ends}" stroke="#222" stroke-width="1.5"/>'
    x, width = min(zero, end), max(abs(end - zero), 0.5)
    return (
        f'<g><title>{escape(told)}</title><rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{THICK - 2}" '
        f'fill="{colour}"/>{whisker}'
        f"{_text(WIDTH - RIGHT + 8, y + 11, f'{bar.value:.3f}', 'start', colour)}</g>"
    )


def _legend(variants: Sequence[str], colours: Mapping[str, str]) -> str:
    parts, x = [], float(LEFT)
    for name in variants:
        parts.append(f'<rect x="{x}" y="8" width="12" height="12" fill="{colours[name]}"/>')
        parts.append(_text(x + 17, 18, name, "start"))
        x += 40 + 8 * len(name)
    return "".join(parts)


def _axis(scale: _Scale, top: float, bottom: float, name: str, reference: float) -> str:
    parts = [f'<path d="M{LEFT},{bottom}H{WIDTH - RIGHT}" stroke="#777" fill="none"/>']
    for tick in _ticks(scale):
        x = scale.x(tick)
        parts.append(f'<path d="M{x:.1f},{bottom}v5" stroke="#777"/>')
        parts.append(_text(x, bottom + 18, f"{tick:g}", "middle", "#555"))
    line = f'M{scale.x(reference):.1f},{top}V{bottom}" stroke="#222" stroke-dasharray="4 3'
    parts.append(f'<path d="{line}"/>')
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, bottom + 36, name, "middle", "#555"))
    return "".join(parts)


def _ticks(scale: _Scale) -> list[float]:
    step = 0.25 if scale.high - scale.low <= 2 else 0.5
    first = int(scale.low / step)
    ticks = [round(number * step, 2) for number in range(first, int(scale.high / step) + 1)]
    return [tick for tick in ticks if scale.low <= tick <= scale.high]


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
