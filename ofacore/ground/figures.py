"""Scores and losses as a person reads them."""

from __future__ import annotations

_LONG = 1e9
"""From here on digits behind the point say nothing, and those before it fill a line."""


def figure(value: float, form: str = ".3f") -> str:
    """Three decimals, or as the form says; of a very large number the first digits and its power of ten."""
    if _LONG <= abs(value) < float("inf"):
        return format(value, form.replace("f", "e"))
    return format(value, form)


def figures(low: float, high: float, form: str = ".3f") -> str:
    """Both ends of an interval."""
    return f"{figure(low, form)} to {figure(high, form)}"
