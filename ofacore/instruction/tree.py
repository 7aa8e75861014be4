"""The syntax tree of an instruction.

Offsets count characters of the source text, end exclusive. They are no part of a node's value: two trees are
equal if they say the same, wherever it was written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class WrittenAttribute:
    """A ``key`` or ``key=value`` of a slot."""

    key: str
    """Letters, digits and ``_``."""
    value: str | None = None
    """Text of the value without its quotes, None for a bare key; the slot's manifest converts it."""
    start: int = field(default=0, compare=False)
    """Offset of the key."""
    end: int = field(default=0, compare=False)
    """Offset behind the value, or behind a bare key."""
    value_start: int = field(default=0, compare=False)
    """Offset of the value or its opening quote; of the key where there is no value."""


@dataclass(frozen=True)
class Plain:
    """Literal text between slots."""

    text: str
    """Without escapes, stripped at both ends, never empty."""
    position: int
    """Number among the plain texts and slots of the template, from 0, the target counted on."""
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Slot:
    """A typed place that a column fills."""

    type: str
    """Capitals, digits and ``_``; the registry knows which types exist."""
    name: str
    """The column's name; for an unnamed slot its position in digits."""
    attributes: tuple[WrittenAttribute, ...]
    """In the order written; every key occurs once."""
    position: int
    """Number among the plain texts and slots of the template, from 0, the target counted on."""
    named: bool
    """Whether the name was written."""
    start: int = field(default=0, compare=False)
    """Offset of the bracket; of the type for a slot inside a contrast."""
    end: int = field(default=0, compare=False)
    type_start: int = field(default=0, compare=False)
    """Offset of the type."""

    def attribute(self, key: str) -> WrittenAttribute | None:
        """Return the attribute of that key, or None."""
        return next((attribute for attribute in self.attributes if attribute.key == key), None)


@dataclass(frozen=True)
class Contrast:
    """``[A|B]``: two slots that are embedded apart and matched."""

    left: Slot
    right: Slot
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Repeat:
    """``( ... )*``: one turn per element of list-valued columns."""

    items: tuple[Node, ...]
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@dataclass(frozen=True)
class OptionalGroup:
    """``( ... )?``: dropped where its columns are absent."""

    items: tuple[Node, ...]
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


Node = Plain | Slot | Contrast | Repeat | OptionalGroup


def children(node: Node) -> tuple[Node, ...]:
    """Return the nodes directly below a node."""
    if isinstance(node, Repeat | OptionalGroup):
        return node.items
    return (node.left, node.right) if isinstance(node, Contrast) else ()


@dataclass(frozen=True)
class Instruction:
    """A parsed instruction: what the model reads, and what it writes."""

    source: tuple[Node, ...]
    target: tuple[Node, ...]
    text: str = field(default="", compare=False)
    """The text it was parsed from; the nodes' offsets point into it."""

    def walk(self) -> Iterator[Node]:
        """Yield every node in pre-order, the source before the target."""
        waiting = [*reversed(self.target), *reversed(self.source)]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(children(node)))

    def slots(self) -> tuple[Slot, ...]:
        """Return every slot in pre-order, those inside groups and contrasts too."""
        return tuple(node for node in self.walk() if isinstance(node, Slot))
