"""Attributes of a slot: from source text to typed values, checked against what the slot's type declares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ofacore.instruction import Instruction, Slot, WrittenAttribute
from ofacore.plan.plan_error import PlanError
from ofacore.plugin import Attribute, SlotType, suggest
from ofacore.plugin.options import limits

CORE_ATTRIBUTES = (
    Attribute("preprocess", "str", doc="Preprocessor to use in place of the type's default."),
    Attribute("adapter", "str", doc="Adapter to use; `adaptor` is understood too."),
    Attribute("head", "str", doc="Head to use.", sides=("target",)),
    Attribute("criterion", "str", doc="Criterion to use.", sides=("target",)),
    Attribute("generator", "str", doc="Generator to use.", sides=("target",)),
    Attribute(
        "corruption", "str", doc="Corruption that makes what is trained on.", sides=("target",)
    ),
    Attribute(
        "drop_prompt",
        "float",
        doc="In training the slot is left out of this share of samples, for guidance.",
        sides=("source",),
        minimum=0,
        maximum=1,
    ),
    Attribute(
        "no_loss",
        "flag",
        doc="Given to the decoder, not learned; forced at inference.",
        sides=("target",),
    ),
)
"""Understood by every slot type."""

_SYNONYMS = {"adaptor": "adapter"}


def declared(slot_type: SlotType) -> dict[str, Attribute]:
    """All attributes of a slot type by name: its own and those that every type has."""
    return {attribute.name: attribute for attribute in (*CORE_ATTRIBUTES, *slot_type.attributes)}


def typed_attributes(
    slot: Slot, side: str, slot_type: SlotType, tree: Instruction
) -> dict[str, Any]:
    """Values of the attributes written in a slot, without defaults.

    Raises:
        PlanError: An unknown attribute, a value of another type or outside its limits, or the wrong side.
    """
    known = declared(slot_type)
    values: dict[str, Any] = {}
    for written in slot.attributes:
        name = _SYNONYMS.get(written.key, written.key)
        if name not in known:
            near = suggest(name, [*known])
            raise PlanError(
                f"{slot.type} has no attribute '{written.key}'",
                tree.text,
                written.start,
                near or f"one of: {', '.join(known) or 'none'}",
            )
        if name in values:
            raise PlanError(
                f"'{written.key}' says again what '{name}' says", tree.text, written.start
            )
        if side not in known[name].sides:
            raise PlanError(
                f"'{name}' belongs on the {known[name].sides[0]} side", tree.text, written.start
            )
        values[name] = _convert(written, known[name], tree.text)
    _check_spans(slot, values, tree)
    return values


def _check_spans(slot: Slot, values: Mapping[str, Any], tree: Instruction) -> None:
    """What is written as ``min_x`` is not above what is written as ``max_x``."""
    for written in slot.attributes:
        least, most = values.get(written.key), values.get(f"max_{written.key.removeprefix('min_')}")
        if (
            written.key.startswith("min_")
            and isinstance(least, int | float)
            and most is not None
            and least > most
        ):
            message = f"'{written.key}={least}' is more than 'max_{written.key.removeprefix('min_')}={most}'"
            raise PlanError(message, tree.text, written.start)


def check_required(
    slot: Slot, values: Mapping[str, Any], side: str, slot_type: SlotType, tree: Instruction
) -> None:
    """Every attribute that a slot needs has a value.

    Raises:
        PlanError: One has none; where it names another slot, none that could be meant stands before.
    """
    for attribute in slot_type.attributes:
        known = attribute.name in values or attribute.default is not None
        if known or not attribute.required or side not in attribute.sides:
            continue
        message = f"{slot.type} needs '{attribute.name}'"
        if attribute.type == "slot":
            types = " or ".join(attribute.choices) or "slot"
            message = f"{message}, and no {types} stands before it"
        hint = f"{slot.type}:{slot.name},{attribute.name}={_example(attribute)}"
        raise PlanError(message, tree.text, slot.start, f"[{hint}]")


def with_defaults(values: Mapping[str, Any], side: str, slot_type: SlotType) -> dict[str, Any]:
    """The values, with the defaults of the attributes that are not written."""
    defaults = {
        a.name: a.default for a in slot_type.attributes if side in a.sides and a.default is not None
    }
    return {**defaults, **values}


def _convert(written: WrittenAttribute, attribute: Attribute, text: str) -> Any:
    if attribute.type == "flag":
        if written.value is not None:
            raise PlanError(
                f"'{written.key}' takes no value", text, written.value_start, written.key
            )
        return True
    if written.value is None:
        raise PlanError(
            f"'{written.key}' needs a value",
            text,
            written.end,
            f"{written.key}={_example(attribute)}",
        )
    value = (
        _number(written, attribute, text) if attribute.type in ("int", "float") else written.value
    )
    if attribute.type != "slot" and attribute.choices and value not in attribute.choices:
        near = suggest(str(value), attribute.choices) or f"one of: {', '.join(attribute.choices)}"
        raise PlanError(
            f"'{value}' is no value of '{written.key}'", text, written.value_start, near
        )
    return value


def _number(written: WrittenAttribute, attribute: Attribute, text: str) -> int | float:
    kind = int if attribute.type == "int" else float
    try:
        value = kind(written.value or "")
    except ValueError:
        message = f"'{written.key}' needs {'a whole number' if kind is int else 'a number'}, not '{written.value}'"
        raise PlanError(
            message, text, written.value_start, f"{written.key}={_example(attribute)}"
        ) from None
    low, high = attribute.minimum, attribute.maximum
    if (
        math.isnan(value)
        or (low is not None and value < low)
        or (high is not None and value > high)
    ):
        raise PlanError(
            f"'{written.key}' is {limits(low, high)}, not {written.value}",
            text,
            written.value_start,
        )
    return value


def _example(attribute: Attribute) -> str:
    if attribute.choices and attribute.type != "slot":
        return attribute.choices[0]
    if attribute.default is not None:
        return str(attribute.default)
    return {"int": "10", "float": "0.5", "slot": "name"}.get(attribute.type, "value")
