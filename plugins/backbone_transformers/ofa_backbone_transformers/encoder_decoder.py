"""Encoder and decoder of transformers over streams."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ofa_backbone_transformers.loading import Parts, cache_name
from ofa_backbone_transformers.rows import (
    WASTE,
    Group,
    as_scores,
    as_stream,
    lengths_of,
    like_lengths,
    runs_forward,
    seen_in,
)
from ofacore.protocols import Layout


class EncoderDecoder(nn.Module):
    """Two stacks of layers; places count from 0 in every sequence, as the layers themselves count.

    Args:
        parts: The model.
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        assert parts.encoder is not None
        self.encoder, self.decoder = parts.encoder, parts.decoder
        self.scale_source, self.scale_target = parts.scale_source, parts.scale_target
        self.scale_out = parts.scale_out
        self.cache_name = cache_name(self.decoder)
        self.one_group = False

    @property
    def waste(self) -> int:
        """Empty places of a group of rows; -1: there is one group."""
        return -1 if self.one_group else WASTE

    def encode(self, states: Tensor, layout: Layout) -> Tensor:
        """See `ofacore.protocols.Backbone.encode`."""
        lengths = lengths_of(layout)
        chosen = like_lengths(lengths.host, range(layout.sequences), self.waste)
        groups = [lengths.group(numbers) for numbers in chosen]
        states = states * self.scale_source
        parts = [self._encoded(group, states) for group in groups]
        return as_stream(groups, parts, states)

    def _encoded(self, group: Group, states: Tensor) -> Tensor:
        mask = None if group.full else group.real.long()
        found = self.encoder(inputs_embeds=group.rows(states), attention_mask=mask)
        return found.last_hidden_state  # type: ignore[no-any-return]

    def decode(
        self, states: Tensor, layout: Layout, memory: Tensor | None, source: Layout | None
    ) -> Tensor:
        """See `ofacore.protocols.Backbone.decode`."""
        lengths, forward = lengths_of(layout), runs_forward(layout)
        chosen = like_lengths(lengths.host, range(layout.sequences), self.waste)
        groups = [lengths.group(numbers) for numbers in chosen]
        states = states * self.scale_target
        reads = Reads(memory, source, layout.memory, states)
        parts = []
        for group in groups:
            mask = None if forward else as_scores(seen_in(layout, group), states.dtype)
            read, real = reads.of(group.sequences)
            parts.append(
                self.decoder(
                    inputs_embeds=group.rows(states),
                    attention_mask=mask,
                    encoder_hidden_states=read,
                    encoder_attention_mask=real,
                    use_cache=False,
                ).last_hidden_state
            )
        return as_stream(groups, parts, states) * self.scale_out

    def step(self, states: Tensor, cache: Any, read: Tensor, real: Tensor | None) -> Tensor:
        """Hidden states [R, n, H] of positions behind those of a cache of transformers, which takes them in.

        Args:
            states: [R, n, H].
            cache: Of R rows.
            read: What they read: [R, K, H].
            real: int64 [R, K]: 1 where there is something to read; None: everywhere.
        """
        found = self.decoder(
            inputs_embeds=states * self.scale_target,
            encoder_hidden_states=read,
            encoder_attention_mask=real,
            use_cache=True,
            **{self.cache_name: cache},
        )
        return found.last_hidden_state * self.scale_out  # type: ignore[no-any-return]


class Reads:
    """What target sequences read of a source; one without a source reads a state of zeros.

    Args:
        memory: Encoder output [N, H], or None.
        source: Its layout, or None.
        which: int64 [S]: the source sequence of each target sequence, -1 for none; None: there is none at all.
        like: Of the width, type and device of states.
    """

    def __init__(
        self, memory: Tensor | None, source: Layout | None, which: Tensor | None, like: Tensor
    ) -> None:
        nothing = memory is None or source is None or which is None or not len(memory)
        self.memory = None if nothing else memory
        self.which, self.like = which, like
        self.lengths = None if nothing or source is None else lengths_of(source)

    def of(self, sequences: Tensor) -> tuple[Tensor, Tensor | None]:
        """States [s, K, H], and int64 [s, K]: 1 where they are real; None: they all are."""
        if self.memory is None or self.lengths is None or self.which is None:
            return self.like.new_zeros(len(sequences), 1, self.like.shape[-1]), None
        numbers = self.which[sequences]
        there = numbers >= 0
        counts = self.lengths.counts[numbers.clamp(min=0)] * there
        longest = max(1, int(counts.max()))
        place = torch.arange(longest, device=counts.device)
        real = place < counts[:, None]
        starts = self.lengths.starts[numbers.clamp(min=0)]
        index = torch.where(real, starts[:, None] + place, 0)
        if bool(real.all()):
            return self.memory[index], None
        states = self.memory[index] * real[..., None]
        blind = (counts == 0)[:, None] & (place == 0)
        return states, (real | blind).long()
