"""Prefix tree over allowed token sequences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass
class TrieNode:
    """One prefix."""

    children: dict[int, TrieNode] = field(default_factory=dict)
    leaf: int | None = None
    """Which sequence ends here, the first one where several are equal."""
    first: int = -1
    """A sequence that lies at or below this node."""


class Trie:
    """Sequences of ids with an end mark, so that one sequence may be the prefix of another.

    Args:
        sequences: Ids of each allowed value, without boundaries.
        end: Id that ends every sequence; None for sequences that need no end (then none may be a prefix of another).
    """

    def __init__(self, sequences: Iterable[Sequence[int]], end: int | None) -> None:
        self.root = TrieNode()
        self.end = end
        for number, ids in enumerate(sequences):
            node = self.root
            for token in (*(int(i) for i in ids), *(() if end is None else (end,))):
                node = node.children.setdefault(token, TrieNode(first=number))
            node.leaf = number if node.leaf is None else node.leaf

    def find(self, prefix: Sequence[int]) -> TrieNode | None:
        """The node of a prefix, None where no sequence begins like that."""
        node: TrieNode | None = self.root
        for token in prefix:
            node = None if node is None else node.children.get(int(token))
        return node

    @staticmethod
    def only(node: TrieNode) -> int | None:
        """The one sequence at or below a node, None where there are several."""
        while len(node.children) == 1 and node.leaf is None:
            node = next(iter(node.children.values()))
        return node.leaf if not node.children else None
