"""One step of decoding with the cache of transformers, for rows that go in step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ofa_backbone_transformers.decoder_only import (
    TOKENS,
    DecoderOnly,
    Prefix,
    joined_cache,
    prefix_of,
)
from ofa_backbone_transformers.encoder_decoder import EncoderDecoder
from ofa_backbone_transformers.key_values import chosen_rows, copied, new_cache
from ofacore.protocols import Layout


@dataclass
class ReadingSteps:
    """Rows that read an encoder's output."""

    model: EncoderDecoder
    cache: Any
    read: Tensor
    """[R, K, H]; of the first step alone, as keys and values of it are kept then."""
    real: Tensor | None
    """int64 [R, K]."""
    begun: bool = False

    def step(self, states: Tensor, adapter: str) -> Tensor:
        """Hidden states [R, n, H] of the next positions."""
        hidden = self.model.step(states, self.cache, self.read, self.real, not self.begun)
        if not self.begun:
            self.begun, self.read = True, self.read[:1].expand(len(states), -1, -1)
        return hidden

    def reordered(self, rows: Tensor) -> ReadingSteps:
        """The same for rows by index int64 [R']."""
        read = self.read[:1].expand(len(rows), -1, -1) if self.begun else self.read[rows]
        real = None if self.real is None else self.real[rows]
        return replace(self, cache=chosen_rows(self.cache, rows), read=read, real=real)

    def copied(self) -> ReadingSteps:
        """An independent one in the same state."""
        return replace(self, cache=copied(self.cache))


@dataclass
class PrefixedSteps:
    """Rows that go on behind a source."""

    model: DecoderOnly
    cache: Any
    counts: Tensor | None = None
    """int64 [R]: places of the source that a row sees; None: there is no source."""
    places: int = 0
    """Of the source, in the cache."""
    behind: int = 0
    """Positions behind it."""
    last: Tensor | None = None
    """[R, H]: the last state of the source, which the first token of the target stands for."""

    def step(self, states: Tensor, adapter: str) -> Tensor:
        """Hidden states [R, n, H] of the next positions."""
        states = states * self.model.scale_in
        if self.counts is not None and not self.behind and self._stands_for_last(adapter):
            assert self.last is not None
            states = torch.cat([self.last[:, None], states[:, 1:]], dim=1)
            self.counts = self.counts - 1
        hidden = self.model.step(states, self.cache, self.counts, self.behind, self.places)
        self.behind += states.shape[1]
        return hidden

    def _stands_for_last(self, adapter: str) -> bool:
        return self.model.joined and adapter == TOKENS

    def reordered(self, rows: Tensor) -> PrefixedSteps:
        """The same for rows by index int64 [R']."""
        counts = None if self.counts is None else self.counts[rows]
        last = None if self.last is None else self.last[rows]
        return replace(self, cache=chosen_rows(self.cache, rows), counts=counts, last=last)

    def copied(self) -> PrefixedSteps:
        """An independent one in the same state."""
        return replace(self, cache=copied(self.cache))


def stepper_of(
    model: EncoderDecoder | DecoderOnly,
    rows: Tensor,
    memory: Tensor | None,
    source: Layout | None,
) -> ReadingSteps | PrefixedSteps | None:
    """What takes steps for rows int64 [R], of which row r reads source r; None: the layers' cache cannot.

    Args:
        model: The layers.
        rows: 0 to R - 1.
        memory: Encoder output [N, H], or None.
        source: Its layout, or None.
    """
    if isinstance(model, EncoderDecoder):
        own = next(model.parameters())
        width = model.decoder.config.hidden_size
        like = torch.zeros(width, dtype=own.dtype, device=own.device)
        reads = model.reads(memory, source, rows, like)
        read, real = reads.of(rows)
        return ReadingSteps(model, new_cache(both=True), read, real)
    prefix = prefix_of(memory)
    if prefix is None:
        return PrefixedSteps(model, new_cache())
    return _behind(model, prefix, rows)


def _behind(model: DecoderOnly, prefix: Prefix, rows: Tensor) -> PrefixedSteps | None:
    if len(prefix.groups) != 1 or not prefix.caches:
        return None
    if len(rows) > len(prefix.lengths.host) or not all(prefix.lengths.host[: len(rows)]):
        return None
    held = joined_cache(prefix, rows)
    last = model.last_states(prefix, rows)
    counts = prefix.lengths.counts[rows]
    return PrefixedSteps(model, held.cache, counts, held.places, 0, last)
