"""Who holds which rows of a token table: of every block, each process of the tensor group holds an equal share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ofacore.ground.vocabulary import Vocabulary
from ofacore.parallel.cross_entropy import Columns
from ofacore.parallel.process_groups import tensor_rank, tensor_size
from ofacore.parallel.sharding import part_of


class VocabularyParts:
    """Rows of this process, block by block, each padded to the length that all processes share.

    With one process these are the vocabulary's own rows.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._starts: dict[str, int] = {}
        self.rows = 0
        for block in vocabulary.blocks:
            self._starts[block.name] = self.rows
            self.rows += -(-block.size // tensor_size())

    def padded(self, name: str) -> range:
        """Own rows of a block, padding included: equally many on every process."""
        start = self._starts[name]
        return range(start, start + -(-len(self.vocabulary.range(name)) // tensor_size()))

    def own(self, name: str) -> range:
        """Own rows of a block."""
        start, part = self._starts[name], part_of(len(self.vocabulary.range(name)))
        return range(start, start + part.stop - part.start)

    def table(self) -> tuple[Tensor, Tensor]:
        """int64 [tokens]: row of each token on the process that holds it; bool [tokens]: whether it is this one."""
        row, mine = [], []
        for block in self.vocabulary.blocks:
            number = torch.arange(block.size)
            each = len(self.padded(block.name))
            row.append(self._starts[block.name] + number % each)
            mine.append(number // each == tensor_rank())
        return torch.cat(row), torch.cat(mine)

    def columns(self, names: Sequence[str]) -> Columns:
        """Who computes which logits of some blocks, in the order of the vocabulary."""
        width = sum(len(self.padded(name)) for name in names)
        place, padding, start = [], [], 0
        for name in names:
            number, each = torch.arange(len(self.vocabulary.range(name))), len(self.padded(name))
            place.append(number // each * width + start + number % each)
            padding.append(torch.arange(each) >= len(self.own(name)))
            start += each
        return Columns(torch.cat(place), torch.cat(padding))
