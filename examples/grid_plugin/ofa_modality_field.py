"""Slots of type FIELD: maps of temperatures, as input and as output."""

from ofacore.parts import grid_modality
from ofacore.plugin import Attribute

ZERO = {"celsius": 0.0, "kelvin": 273.15}
UNIT = Attribute("unit", "choice", "celsius", "unit of the numbers", choices=tuple(ZERO))


def read(value):
    """Text such as '12 13; 11 12.5' is a map too: rows end with a semicolon."""
    if not isinstance(value, str):
        return value
    return [[float(number) for number in row.split()] for row in value.split(";")]


def to_celsius(grid, attributes):
    return grid - ZERO[attributes["unit"]]


def to_unit(grid, attributes):
    return grid + ZERO[attributes["unit"]]


def worst(answer, reference):
    return abs(answer - reference).max()


MANIFEST = grid_modality(
    "field",
    "FIELD",
    shape=(3, 4),
    attributes=[UNIT],
    doc="A map of temperatures.",
    read=read,
    to_base=to_celsius,
    from_base=to_unit,
    score=worst,
)
