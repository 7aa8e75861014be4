"""Token blocks of one model. A block keeps the place it got when it first joined; growth only appends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

BOS, PAD, EOS, UNK, SEP, MASK = range(6)
CORE_TOKENS = ("<bos>", "<pad>", "<eos>", "<unk>", "<sep>", "<mask>")


@dataclass(frozen=True)
class Block:
    """A contiguous range of token ids owned by one preprocessor, as ``text/bpe:8192:1f0c…`` or ``box/bins:1000``."""

    name: str
    size: int


CORE = Block("core", len(CORE_TOKENS))


@dataclass(frozen=True)
class Vocabulary:
    """Blocks in the order in which they joined; the core block is always first.

    Example:
        >>> vocabulary = Vocabulary().extend([Block("box/bins:1000", 1000)])
        >>> vocabulary.offset("box/bins:1000"), vocabulary.size
        (6, 1006)
    """

    blocks: tuple[Block, ...] = field(default=(CORE,))
    founding: int | None = None
    """Blocks that the model was made with, the first ones; None: all of them, no task joined later."""

    @cached_property
    def _offsets(self) -> dict[str, int]:
        offsets, total = {}, 0
        for block in self.blocks:
            offsets[block.name] = total
            total += block.size
        return offsets

    @property
    def size(self) -> int:
        """Number of tokens, core tokens included."""
        return sum(block.size for block in self.blocks)

    @property
    def founders(self) -> tuple[Block, ...]:
        """The blocks that the model was made with."""
        return self.blocks[: self.founding]

    def __contains__(self, name: str) -> bool:
        return name in self._offsets

    def offset(self, name: str) -> int:
        """First id of a block.

        Raises:
            KeyError: No block of that name; the message lists those that are there.
        """
        if name not in self._offsets:
            raise KeyError(
                f"no vocabulary block '{name}'; this model has {', '.join(self._offsets)}"
            )
        return self._offsets[name]

    def range(self, name: str) -> range:
        """All ids of a block."""
        start = self.offset(name)
        return range(start, start + next(b.size for b in self.blocks if b.name == name))

    def extend(self, blocks: Iterable[Block]) -> Vocabulary:
        """The vocabulary with new blocks appended; blocks already present keep their place.

        Raises:
            ValueError: A block of that name is present with another size.
        """
        joined = list(self.blocks)
        for block in blocks:
            known = next((b for b in joined if b.name == block.name), None)
            if known is None:
                joined.append(block)
            elif known.size != block.size:
                raise ValueError(
                    f"block '{block.name}' has {known.size} tokens in this model, not {block.size}"
                )
        return Vocabulary(tuple(joined), self.founding)
