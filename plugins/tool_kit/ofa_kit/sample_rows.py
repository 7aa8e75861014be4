"""Rows made up for a task from the sample values of its slot types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ofacore.instruction import Contrast, Node, OptionalGroup, Plain, Repeat, Slot
from ofacore.plan import TaskPlan
from ofacore.plugin import Registry

TURNS = 2


def sample_rows(plan: TaskPlan, registry: Registry, count: int = 4) -> list[dict[str, Any]]:
    """Rows that hold a value for every slot: the sample of its type, or a member of its closed set; lists in repeats.

    A column of references that a metric reads holds the value itself.

    Raises:
        ValueError: A slot type has no sample.
    """
    return [_row(plan, registry, number) for number in range(count)]


def _row(plan: TaskPlan, registry: Registry, number: int) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for template in plan.templates:
        for slot, depth in _slots((*template.tree.source, *template.tree.target), 0):
            column = plan.columns.get(slot.name, slot.name)
            if column not in row:
                row[column] = _nested(_value(slot, plan, registry, number), depth)
    for use in plan.metrics:
        if use.references and use.references not in row:
            row[use.references] = [row[plan.columns.get(use.slot, use.slot)]]
    return row


def _value(slot: Slot, plan: TaskPlan, registry: Registry, number: int) -> Any:
    allowed = plan.closed_sets.get(slot.name)
    if isinstance(allowed, Sequence) and not isinstance(allowed, str):
        return allowed[number % len(allowed)]
    declared = registry.slot(slot.type)
    if not declared.sample:
        raise ValueError(f"the slot type {slot.type} has no sample value")
    value = registry.resolve(declared.sample)()
    many = any(attribute.key == "many" for attribute in slot.attributes)
    return [value] if many else value


def _nested(value: Any, depth: int) -> Any:
    for _ in range(depth):
        value = [value] * TURNS
    return value


def _slots(nodes: Sequence[Node], depth: int) -> Iterator[tuple[Slot, int]]:
    """(slot, number of repeats around it)."""
    for node in nodes:
        if isinstance(node, Slot):
            yield node, depth
        elif isinstance(node, Contrast):
            yield from ((side, depth) for side in (node.left, node.right) if isinstance(side, Slot))
        elif isinstance(node, Repeat | OptionalGroup):
            yield from _slots(node.items, depth + isinstance(node, Repeat))
        else:
            assert isinstance(node, Plain)
