"""Values of ``--data``: text, or what a slot type makes of the text that was entered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ofacore.plugin import entered_value

if TYPE_CHECKING:
    from ofacore.plan import TaskPlan
    from ofacore.plugin import Registry
    from ofacore.protocols import SlotPlan


def entered_row(row: Mapping[str, Any], plan: TaskPlan, registry: Registry) -> dict[str, Any]:
    """The row with the values of slots whose type has a ``parse``.

    Raises:
        UserError: A text is no value; names the slot and what would be right.
    """
    slots = {slot.name: slot for slot in plan.slots() if slot.plain is None and slot.name in row}
    return {**row, **{name: _entered(row[name], slot, registry) for name, slot in slots.items()}}


def _entered(text: Any, slot: SlotPlan, registry: Registry) -> Any:
    if not registry.slot(slot.type).parse:
        return text
    return entered_value(registry, slot.type, text, name=slot.name)
