"""A slot type says how its value is entered, and what was entered becomes a value or an error in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ofacore.ground.errors import UserError
from ofacore.plugin import PluginError, Registry, entered_value
from tests.contract import aging

DUO = aging.SECOND.slots[0]


def two_numbers(text):
    parts = [float(part) for part in text.split()]
    if len(parts) != 2:
        raise ValueError(f"{len(parts)} numbers, not two")
    return parts


def brought(**changes) -> Registry:
    slot = replace(DUO, **changes)
    return Registry.of(replace(aging.SECOND, slots=(slot,)))


def test_what_was_entered_is_parsed_or_refused_with_slot_and_way_out():
    registry = brought(parse=f"{__name__}:two_numbers")
    assert entered_value(registry, "DUO", "1 2.5") == [1.0, 2.5]
    with pytest.raises(UserError, match=r"\[DUO:a\]: 3 numbers, not two; it takes two numbers"):
        entered_value(registry, "DUO", "1 2 3", name="a")
    with pytest.raises(UserError, match="DUO: 5 was entered; expected text"):
        entered_value(registry, "DUO", 5)


@pytest.mark.parametrize(("entered", "value"), [("3", 3), (" 2.5", 2.5), (4, 4)])
def test_numbers_are_numbers(entered, value):
    assert entered_value(brought(widget="number"), "DUO", entered) == value


@pytest.mark.parametrize("entered", ["three", "nan", True, None, [1]])
def test_what_is_no_number_is_refused(entered):
    with pytest.raises(UserError, match="was entered; expected a number"):
        entered_value(brought(widget="number"), "DUO", entered)


def test_files_and_choices():
    registry = brought(widget="file")
    assert (
        entered_value(registry, "DUO", "a.png") == "a.png"
        and entered_value(registry, "DUO", b"x") == b"x"
    )
    with pytest.raises(UserError, match="expected the path of a file or its bytes"):
        entered_value(registry, "DUO", " ")
    assert entered_value(registry, "DUO", "2", choices=[1, 2]) == 2
    with pytest.raises(UserError, match="'3' is none of 1, 2"):
        entered_value(registry, "DUO", "3", choices=[1, 2])


def test_an_unknown_widget_and_a_malformed_function_are_told_by_the_manifest():
    with pytest.raises(PluginError, match="has widget 'slider'; one of: text, number, file"):
        brought(widget="slider")
    with pytest.raises(PluginError, match="has parse 'nowhere', not 'package.module:function'"):
        brought(parse="nowhere")


def test_ours_say_how_they_are_entered():
    registry = Registry.discover()
    widgets = {name: registry.slot(name).widget for name in ("TEXT", "IMAGE", "MOTION", "BOX")}
    assert widgets == {"TEXT": "text", "IMAGE": "file", "MOTION": "file", "BOX": "text"}
    assert entered_value(registry, "BOX", "10,20,110,220") == "10,20,110,220"
