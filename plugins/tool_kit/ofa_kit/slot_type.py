"""Checks of what a slot type declares: its attributes, and which values are its own."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ofa_kit.bench import COLUMN, SlotBench
from ofa_kit.slot_suite import SlotSuite
from ofacore.ground.errors import UserError
from ofacore.plan import compile_instruction
from ofacore.plugin import Attribute
from ofacore.protocols import RowError


class SlotTypeChecks(SlotSuite):
    """Checks of a slot type's declaration."""

    def test_attributes_are_declared_well(self, bench: SlotBench) -> None:
        """Every attribute has a documentation, and a default that it would accept itself."""
        for attribute in bench.slot_type.attributes:
            problem = _attribute_problem(attribute)
            assert not problem, f"attribute '{attribute.name}' of {bench.slot_type.name}: {problem}"

    def test_attributes_are_understood(self, bench: SlotBench) -> None:
        """Every attribute can be written, and the preprocessor copes with it."""
        given = [part.partition("=")[0].strip() for part in self.attributes.split(",")]
        for attribute in bench.slot_type.attributes:
            for task, slot in bench.slots.items():
                if (
                    attribute.type != "slot"
                    and slot.side in attribute.sides
                    and attribute.name not in given
                ):
                    _encode_with(attribute, bench, task)

    def test_values_are_recognised(self, bench: SlotBench) -> None:
        """`is_element` tells one value from a list of values, and never raises."""
        is_element = bench.slot_type.is_element
        for value in bench.values:
            assert is_element(value) is True, (
                f"is_element({value!r:.60}) is {is_element(value)!r}, but this is a value of {bench.slot_type.name}: "
                "return True for everything that encode accepts"
            )
            assert not is_element([value, value]), (
                "is_element says that a list of values is one value, so "
                f"[{bench.slot_type.name}:x] in a repeat group would not be taken apart: return "
                "False for lists of values"
            )
        for odd in (object(), None, {}, [], (), b"", 1.5, "x", {1, 2}):
            try:
                is_element(odd)
            except Exception as error:
                pytest.fail(
                    f"is_element({odd!r}) raised {error!r}: it must answer False for anything it does not know"
                )


def _attribute_problem(attribute: Attribute) -> str:
    if not attribute.doc:
        return "it has no doc; write what it does in a few words, it is shown by `ofa plugins show`"
    if attribute.type == "choice" and not attribute.choices:
        return "it is a choice without choices; list them"
    default = attribute.default
    if default is None or (attribute.type == "flag" and isinstance(default, bool)):
        return ""
    kinds: Mapping[str, type | tuple[type, ...]] = {
        "int": int,
        "float": (int, float),
        "str": str,
        "choice": str,
    }
    if attribute.type in kinds and not isinstance(default, kinds[attribute.type]):
        return f"its default {default!r} is no {attribute.type}; correct the default or the type"
    if attribute.choices and attribute.type != "slot" and default not in attribute.choices:
        return f"its default {default!r} is not among its choices {attribute.choices}; add it or take another"
    low, high = attribute.minimum, attribute.maximum
    if isinstance(default, int | float) and (
        (low is not None and default < low) or (high is not None and default > high)
    ):
        return f"its default {default!r} is outside its limits {low} to {high}; correct one of them"
    return ""


def _written(attribute: Attribute) -> str:
    """An attribute as a user would write it."""
    if attribute.type == "flag":
        return attribute.name
    if attribute.choices:
        return f"{attribute.name}={attribute.choices[-1]}"
    low = attribute.minimum if attribute.minimum is not None else attribute.maximum
    given = attribute.default if attribute.default is not None else low
    fallback = {"int": 8, "float": 0.5}.get(attribute.type, "8")
    return f'{attribute.name}="{fallback if given is None else given}"'


def written_attributes(bench: SlotBench, task: str) -> list[str]:
    """Every attribute that the slot of a task may have: each choice, and of a number the default and the smallest."""
    given = [part.partition("=")[0].strip() for part in bench.suite.attributes.split(",")]
    found: list[str] = []
    for attribute in bench.slot_type.attributes:
        if (
            attribute.type == "slot"
            or bench.slots[task].side not in attribute.sides
            or attribute.name in given
        ):
            continue
        found += [f"{attribute.name}={choice}" for choice in attribute.choices] or [
            _written(attribute)
        ]
        if attribute.minimum is not None:
            found.append(f'{attribute.name}="{attribute.minimum}"')
    return found


def _encode_with(attribute: Attribute, bench: SlotBench, task: str) -> None:
    written = _written(attribute)
    slot = compile_instruction(bench.instruction(task, written), bench.registry).named(COLUMN)
    assert slot is not None
    ctx = bench.context(bench.rows[0], task)
    try:
        bench.preprocessor.encode(ctx.row[COLUMN], slot, ctx)
    except (UserError, RowError):
        return
    except Exception as error:
        raise AssertionError(
            f"with {written} encode raised {type(error).__name__}: {error}. Read attributes with "
            "slot.attributes.get(...), convert what needs converting, and raise a RowError where a value does not fit"
        ) from error
