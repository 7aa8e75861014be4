"""What a row gives of a target: values of ``no_loss`` slots, turn by turn, and the groups that stand without them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ofacore.encoding.filling import IsElement, is_list, leaves, needed_slots
from ofacore.instruction import Node, OptionalGroup, Repeat, Slot
from ofacore.protocols import SlotPlan

Values = Mapping[str, Any]


@dataclass(frozen=True)
class GivenTarget:
    """The nodes of a target beside the values of a row."""

    slots: Mapping[int, SlotPlan]
    is_element: Mapping[str, IsElement]
    """Slot type -> whether a value is one value of it, not a list; where it is not known no list is."""

    def present(self, nodes: Sequence[Node], values: Values) -> tuple[Node, ...]:
        """The nodes without the groups and repeats that lack a given value, which training leaves out, too."""
        return tuple(self._present(nodes, values))

    def _present(self, nodes: Sequence[Node], values: Values) -> Iterator[Node]:
        for node in nodes:
            if self._lacks(node, values):
                continue
            if isinstance(node, OptionalGroup):
                node = replace(node, items=self.present(node.items, values))
                if not node.items:
                    continue
            yield node

    def lists(self, repeat: Repeat, values: Values) -> dict[str, Sequence[Any]]:
        """Slot name -> what it has for the turns of a repeat; without those that are the same in all of them."""
        found: dict[str, Sequence[Any]] = {}
        for leaf in leaves(repeat.items):
            if isinstance(leaf, Slot) and self._is_given(leaf):
                value: Any = values.get(leaf.name)
                is_one = self.is_element.get(leaf.type, lambda _: False)
                if is_list(value) and not is_one(value):
                    found[leaf.name] = value
        return found

    def values(self, nodes: Sequence[Node], values: Values) -> Iterator[tuple[SlotPlan, Any]]:
        """Every given slot with what is fed for it, in order; None where the row has nothing."""
        for node in self.present(nodes, values):
            if isinstance(node, Slot) and self._is_given(node):
                yield self.slots[node.position], values.get(node.name)
            elif isinstance(node, OptionalGroup):
                yield from self.values(node.items, values)
            elif isinstance(node, Repeat):
                for turn in self._turns(node, values):
                    yield from self.values(node.items, turn)

    def _turns(self, repeat: Repeat, values: Values) -> Iterator[Values]:
        lists = self.lists(repeat, values)
        for number in range(min(map(len, lists.values()), default=1)):
            yield {**values, **{name: own[number] for name, own in lists.items()}}

    def _lacks(self, node: Node, values: Values) -> bool:
        if not isinstance(node, OptionalGroup | Repeat):
            return False
        needed = filter(self._is_given, needed_slots(node.items))
        return any(values.get(slot.name) is None for slot in needed)

    def _is_given(self, slot: Slot) -> bool:
        return not self.slots[slot.position].loss
