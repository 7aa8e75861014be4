"""Fills a template with a row: groups are repeated or dropped, a contrast becomes two sequences.

The result is flat, in reading order, and remembers where turns of a repeat begin and end, because there the model
chooses whether to go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ofacore.instruction import Contrast, Node, OptionalGroup, Plain, Repeat, Slot
from ofacore.protocols import SlotPlan, Split
from ofacore.sources.data_errors import ColumnError

if TYPE_CHECKING:
    from ofacore.plan import TemplatePlan

Turn = tuple[int, ...]
"""Turn numbers of the enclosing repeats, outermost first."""
IsElement = Callable[[Any], bool]


@dataclass(slots=True)
class Filled:
    """One occurrence of a slot or of plain text."""

    slot: SlotPlan
    value: Any
    """None: absent, a target slot at inference."""
    turn: Turn = ()
    choice: SlotPlan | None = None
    """Set on the first of a repeat's turn, where the model chooses to go on: the slot that learns this choice."""


@dataclass(slots=True)
class RepeatEnd:
    """No further turn follows."""

    slot: SlotPlan
    """What the next turn would have begun with."""
    turn: Turn = ()
    """Turn that holds the repeat."""
    choice: SlotPlan | None = None
    """The slot that learns to stop here; None if nothing of the repeat is learned."""


Item = Filled | RepeatEnd


@dataclass(slots=True)
class Expanded:
    """A filled template."""

    sources: tuple[tuple[Filled, ...], ...]
    """One sequence; two for a contrast; none without a source."""
    target: tuple[Item, ...]


@dataclass(slots=True, eq=False)
class _Filling:
    """What stays the same while one side of a template is filled."""

    slots: Mapping[int, SlotPlan]
    is_element: Mapping[str, IsElement]
    dropped: frozenset[int]
    optional_values: bool

    def fill(self, nodes: Sequence[Node], row: Mapping[str, Any], turn: Turn) -> list[Item]:
        items: list[Item] = []
        for node in nodes:
            if isinstance(node, Slot):
                if node.position not in self.dropped:
                    items.append(Filled(self.slots[node.position], self._value(node, row), turn))
            elif isinstance(node, Plain):
                if node.position not in self.dropped:
                    items.append(Filled(self.slots[node.position], node.text, turn))
            elif isinstance(node, Repeat):
                items += self._repeat(node, row, turn)
            elif isinstance(node, OptionalGroup) and not self.absent(node.items, row):
                items += self.fill(node.items, row, turn)
        return items

    def _value(self, node: Slot, row: Mapping[str, Any]) -> Any:
        value = row.get(node.name)
        if value is None and not self.optional_values:
            problem = f"[{node.type}:{node.name}] needs a value, but the row has none"
            raise ColumnError(
                node.name,
                f"{problem}; make it optional, ([{node.type}:{node.name}])?, or fill the column",
            )
        return value

    def absent(self, nodes: Sequence[Node], row: Mapping[str, Any]) -> bool:
        """Whether a column that a group needs is missing; optional groups inside need nothing."""
        return any(
            row.get(slot.name) is None
            for slot in needed_slots(nodes)
            if slot.position not in self.dropped
        )

    def _repeat(self, node: Repeat, row: Mapping[str, Any], turn: Turn) -> Iterator[Item]:
        if self.absent(node.items, row):
            return
        lists = self._lists(node, row)
        choice = self._learning(node)
        for number in range(self._turns(node, lists)):
            inner = {**row, **{name: values[number] for name, values in lists.items()}}
            items = self.fill(node.items, inner, (*turn, number))
            if items and isinstance(items[0], Filled):
                items[0] = replace(items[0], choice=choice)
            yield from items
        yield RepeatEnd(self.slots[first_slot(node.items).position], turn, choice)

    def _learning(self, node: Repeat) -> SlotPlan | None:
        slots = [self.slots[leaf.position] for leaf in leaves(node.items)]
        return next((slot for slot in slots if slot.loss), None)

    def _lists(self, node: Repeat, row: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
        slots = [
            leaf
            for leaf in leaves(node.items)
            if isinstance(leaf, Slot) and leaf.position not in self.dropped
        ]
        return {
            slot.name: row[slot.name]
            for slot in slots
            if row.get(slot.name) is not None
            and is_list(row[slot.name])
            and not self.is_element[slot.type](row[slot.name])
        }

    def _turns(self, node: Repeat, lists: Mapping[str, Sequence[Any]]) -> int:
        if not lists:
            names = [leaf.name for leaf in leaves(node.items) if isinstance(leaf, Slot)]
            found = ", ".join(names)
            remedy = "a field of a CSV file is text: give JSON lines, or the column the transform 'from_json'"
            raise ColumnError(
                names[0], f"a repeat needs a list, but none of {found} holds one; {remedy}"
            )
        (first, values), *others = lists.items()
        for name, other in others:
            if len(other) != len(values):
                problem = f"its repeat has {len(other)} values here, but {len(values)} in column '{first}'"
                raise ColumnError(name, f"{problem}; one turn takes one of each")
        return len(values)


def expand(
    template: TemplatePlan,
    row: Mapping[str, Any],
    is_element: Mapping[str, IsElement],
    split: Split,
    dropped: frozenset[int] = frozenset(),
) -> Expanded:
    """Fill a template with a row.

    Args:
        template: Plan of the template.
        row: Slot name -> value.
        is_element: Slot type -> whether a value is one value of it, not a list.
        split: At ``infer`` values of the target may be absent.
        dropped: Positions that are left out, such as a prompt that guidance drops.

    Raises:
        ColumnError: A needed value is absent, or the lists of a repeat are unequally long.
    """
    tree = template.tree
    source = _Filling(template.slots, is_element, dropped, optional_values=False)
    target = _Filling(template.slots, is_element, dropped, optional_values=split == "infer")
    sequences = [
        _occurrences(source.fill(nodes, row, ())) for nodes in source_branches(tree.source)
    ]
    return Expanded(
        tuple([items for items in sequences if items]), tuple(target.fill(tree.target, row, ()))
    )


def source_branches(nodes: Sequence[Node]) -> tuple[tuple[Node, ...], ...]:
    """The source itself, or with a contrast the source once with each of its two slots."""
    groups = [node for node in nodes if not isinstance(node, Slot | Plain)]
    if not any(map(_holds_contrast, groups)):
        return (tuple(nodes),)
    left = tuple(_without_contrast(node, right=False) for node in nodes)
    return left, tuple(_without_contrast(node, right=True) for node in nodes)


def _holds_contrast(node: Node) -> bool:
    if isinstance(node, Slot):
        return False
    if isinstance(node, Repeat | OptionalGroup):
        return any(map(_holds_contrast, node.items))
    return isinstance(node, Contrast)


def _without_contrast(node: Node, right: bool) -> Node:
    if isinstance(node, Contrast):
        return node.right if right else node.left
    if isinstance(node, Repeat | OptionalGroup):
        return replace(node, items=tuple(_without_contrast(item, right) for item in node.items))
    return node


def leaves(nodes: Sequence[Node]) -> Iterator[Plain | Slot]:
    """Slots and plain texts at any depth, in order."""
    for node in nodes:
        if isinstance(node, Plain | Slot):
            yield node
        elif isinstance(node, Contrast):
            yield from leaves((node.left, node.right))
        else:
            yield from leaves(node.items)


def needed_slots(nodes: Sequence[Node]) -> Iterator[Slot]:
    """Slots that a group cannot do without: all but those of optional groups inside."""
    for node in nodes:
        if isinstance(node, Slot):
            yield node
        elif isinstance(node, Repeat):
            yield from needed_slots(node.items)


def first_slot(nodes: Sequence[Node]) -> Plain | Slot:
    """What a turn begins with."""
    return next(leaves(nodes))


def is_list(value: Any) -> bool:
    """Whether a value can be taken element by element."""
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _occurrences(items: Sequence[Item]) -> tuple[Filled, ...]:
    return tuple([item for item in items if isinstance(item, Filled)])
