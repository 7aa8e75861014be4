"""Slots of type FIELD: maps of temperatures, as input and as output."""

from ofacore.parts import grid_modality
from ofacore.plugin import Attribute


def read(value):
    """Text such as '12 13; 11 12.5' is a map too: rows end with a semicolon."""
    if not isinstance(value, str):
        return value
    return [[float(number) for number in row.split()] for row in value.split(";")]


def to_celsius(grid, attributes):
    return grid - 273.15 if attributes["unit"] == "kelvin" else grid


def to_unit(grid, attributes):
    return grid + 273.15 if attributes["unit"] == "kelvin" else grid


def worst(answer, reference):
    return abs(answer - reference).max()


def sample():
    return [[12.0, 13.0, 14.5, 15.0], [11.0, 12.5, 14.0, 14.5], [10.5, 11.0, 13.0, 13.5]]


MANIFEST = grid_modality(
    "field",
    shape=(3, 4),
    attributes=[Attribute("unit", "choice", "celsius", "its unit", choices=("celsius", "kelvin"))],
    doc="A map of temperatures.",
    read=read,
    to_base=to_celsius,
    from_base=to_unit,
    score=worst,
    sample=sample,
)
