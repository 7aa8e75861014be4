"""Transforms of raw columns as the data sets of this family are published: labels of objects."""

from __future__ import annotations

from ofacore.plugin import Component, Option


def detection_boxes(value: str | list[list[float]]) -> list[list[float]]:
    """Boxes of a detection label ``x0,y0,x1,y1,id,name&&...``; a list stays as it is."""
    if not isinstance(value, str):
        return value
    return [_corners(box) for box in value.split("&&") if box.strip()]


def _corners(box: str) -> list[float]:
    return [float(number) for number in box.split(",")[:4]]


def detection_names(value: str | list[str]) -> list[str]:
    """Names of a detection label ``x0,y0,x1,y1,id,name&&...``; a list stays as it is."""
    if not isinstance(value, str):
        return value
    return [part.split(",", 5)[5].strip() for part in value.split("&&") if part.strip()]


def _transform(name: str, doc: str, **options: Option) -> Component:
    return Component("transform", name, f"{__name__}:{name}", doc, options=options)


TRANSFORMS: tuple[Component, ...] = (
    _transform("detection_boxes", "`x0,y0,x1,y1,id,name&&...` becomes boxes"),
    _transform("detection_names", "`x0,y0,x1,y1,id,name&&...` becomes names"),
)
"""For the manifest of this package."""
