"""The forms in which boxes reach a metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from ofacore.protocols import Options

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1."""


def as_box(value: Any, place: str) -> Box | None:
    """Four numbers, in a list, an array or under the key ``box``; None for no box.

    Raises:
        ValueError: It is no box.
    """
    value = value["box"] if isinstance(value, Mapping) and "box" in value else value
    if value is None:
        return None
    numbers = _plain(value)
    try:
        x0, y0, x1, y1 = (float(number) for number in numbers)
    except (TypeError, ValueError):
        raise ValueError(
            f"{place}: expected a box [x0, y0, x1, y1] or none, got {_shown(value)}"
        ) from None
    if not all(map(math.isfinite, (x0, y0, x1, y1))):
        raise ValueError(f"{place}: the box {_shown(value)} is not finite")
    return x0, y0, x1, y1


def as_boxes(value: Any, place: str) -> list[tuple[Box, float]]:
    """All boxes of a value with their scores (1 where it has none): a list of boxes, one box, or nothing.

    Raises:
        ValueError: One of them is no box.
    """
    elements = _elements(value)
    found = [(as_box(element, place), element) for element in elements]
    return [(box, _score(element)) for box, element in found if box is not None]


def threshold_of(options: Options, name: str) -> float:
    """The option ``threshold``, 0.5 unless set.

    Raises:
        ValueError: It is not above 0 and at most 1.
    """
    threshold = float(options.get("threshold", 0.5))
    if not 0 < threshold <= 1:
        raise ValueError(
            f"{name}: option threshold is {threshold:g}; an IoU lies above 0 and at most at 1"
        )
    return threshold


def check_lengths(
    name: str, predictions: Sequence[Any], references: Sequence[Any], rows: Sequence[Any]
) -> None:
    """Refuse lists that do not belong together.

    Raises:
        ValueError: Their lengths differ.
    """
    if not len(predictions) == len(references) == len(rows):
        sizes = f"{len(predictions)} predictions, {len(references)} references, {len(rows)} rows"
        raise ValueError(f"{name}: {sizes}; there must be one of each for every sample")


def _elements(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [value]
    elements = _plain(value)
    return (
        [elements]
        if len(elements) == 4 and all(isinstance(number, Real) for number in elements)
        else elements
    )


def _plain(value: Any) -> list[Any]:
    value = value.tolist() if hasattr(value, "tolist") else value
    return list(value) if isinstance(value, list | tuple) else [value]


def _score(element: Any) -> float:
    score = element.get("score") if isinstance(element, Mapping) else None
    return 1.0 if score is None else float(score)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
