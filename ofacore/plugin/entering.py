"""What a person entered for a slot, as the value that the slot takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ofacore.ground.errors import UserError
from ofacore.plugin.blame import Blame, who
from ofacore.plugin.registry import Registry


def entered_value(
    registry: Registry,
    slot_type: str,
    entered: Any,
    *,
    name: str = "",
    choices: Sequence[Any] = (),
) -> Any:
    """The value that was entered, by the slot type's ``widget`` and ``parse``.

    Args:
        registry: What is installed.
        slot_type: Such as ``TEXT``.
        entered: What a page or a command line sends: text; a number or its text; the path of a file, or its bytes; the
            text of a choice.
        name: Slot that it is for, for messages.
        choices: Values that may be chosen; of them it must be one.

    Raises:
        UserError: It cannot be a value; names the slot and what would be right.
        PluginError: The slot type is unknown, or ``parse`` cannot be imported.
    """
    slot = registry.slot(slot_type)
    place = f"[{slot.name}:{name}]" if name else slot.name
    value = _chosen(entered, choices, place) if choices else _by_widget(slot.widget, entered, place)
    if slot.parse and not choices:
        parse = registry.resolve(slot.parse)
        try:
            with Blame(who(registry, "slot", slot.name), "when it parsed what was entered"):
                value = parse(value)
        except (ValueError, TypeError) as error:
            raise UserError(f"{place}: {error}; it takes {slot.values}") from error
    if value is None or not slot.is_element(value):
        raise UserError(f"{place}: {entered!r:.60} is no value; it takes {slot.values}")
    return value


def _chosen(entered: Any, choices: Sequence[Any], place: str) -> Any:
    found = next(
        (choice for choice in choices if entered == choice or str(entered) == str(choice)), None
    )
    if found is None:
        raise UserError(f"{place}: {entered!r:.60} is none of {', '.join(map(str, choices[:10]))}")
    return found


def _by_widget(widget: str, entered: Any, place: str) -> Any:
    if widget == "number":
        return _number(entered, place)
    if widget == "file" and isinstance(entered, bytes):
        return entered
    if not isinstance(entered, str) or (widget == "file" and not entered.strip()):
        expected = "the path of a file or its bytes" if widget == "file" else "text"
        raise UserError(f"{place}: {entered!r:.60} was entered; expected {expected}")
    return entered


def _number(entered: Any, place: str) -> int | float:
    try:
        number = float(entered)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(entered, bool) or not math.isfinite(number):
        raise UserError(f"{place}: {entered!r:.60} was entered; expected a number")
    return int(number) if number.is_integer() else number
