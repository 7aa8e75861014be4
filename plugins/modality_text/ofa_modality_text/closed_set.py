"""Closed sets of texts: which tokens may follow, position by position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ofacore.parts import Trie, TrieNode
from ofacore.protocols import EOS


class ClosedSet:
    """The encoded members of one closed set and the trie over them.

    Args:
        values: Allowed values, as given; kept, so that they are recognised by identity.
        encode: Ids of one value.
    """

    def __init__(self, values: Sequence[Any], encode: Callable[[Any], np.ndarray]) -> None:
        self.values = values
        self.members = tuple(encode(value) for value in values)
        self._trie = Trie((ids.tolist() for ids in self.members), EOS)
        self._arrays: dict[int, np.ndarray] = {}

    def allowed(self, ids: np.ndarray) -> tuple[np.ndarray, ...] | None:
        """For each of n positions and the end, the sorted ids that may stand there; None if no member has these ids.

        ``<eos>`` stands for the end of a member, whether or not it is the end of the run.
        """
        node, steps = self._trie.root, []
        for token in (*ids.tolist(), EOS):
            steps.append(self._children(node))
            if token not in node.children:
                return None
            node = node.children[token]
        return tuple(steps)

    def _children(self, node: TrieNode) -> np.ndarray:
        known = self._arrays.get(id(node))
        if known is None:
            known = self._arrays[id(node)] = np.array(sorted(node.children), dtype=np.int64)
        return known
