"""Encoder and decoder of transformers over streams."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ofa_backbone_transformers.loading import Parts, cache_name
from ofa_backbone_transformers.row_owners import RowOwners
from ofa_backbone_transformers.rows import (
    Group,
    Lengths,
    as_scores,
    as_stream,
    lengths_of,
    like_lengths,
    runs_forward,
    seen_in,
    waste_of,
)
from ofacore.protocols import Layout


class EncoderDecoder(nn.Module):
    """Two stacks of layers; places count from 0 in every sequence, as the layers themselves count.

    Args:
        parts: The model.

    Attributes:
        prompt: [p, H]: what the decoder reads before any target; None: nothing.
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        assert parts.encoder is not None
        self.encoder, self.decoder = parts.encoder, parts.decoder
        self.scale_source, self.scale_target = parts.scale_source, parts.scale_target
        self.scale_out = parts.scale_out
        self.cache_name = cache_name(self.decoder)
        self.masked = "encoder_attention_mask" in inspect.signature(self.decoder.forward).parameters
        self.one_group = False
        self.owners = RowOwners()
        self.prompt = None if parts.prompt is None else nn.Parameter(parts.prompt)

    def waste(self, states: Tensor) -> int:
        """Empty places of a group of rows of states [N, H]; -1: there is one group."""
        return -1 if self.one_group else waste_of(states)

    def encode(self, states: Tensor, layout: Layout) -> Tensor:
        """See `ofacore.protocols.Backbone.encode`."""
        lengths = lengths_of(layout)
        chosen = like_lengths(lengths.host, range(layout.sequences), self.waste(states))
        groups = [lengths.group(numbers) for numbers in chosen]
        states = states * self.scale_source
        parts = [self._encoded(group, states, layout) for group in groups]
        return as_stream(groups, parts, states)

    def _encoded(self, group: Group, states: Tensor, layout: Layout) -> Tensor:
        self.owners.note(layout, group.index[:, 0])
        rows = group.rows(states)
        real = None if group.full else group.real
        return self._encoded_rows(rows, real)

    def _encoded_rows(self, rows: Tensor, real: Tensor | None) -> Tensor:
        """Rows [s, L, H] of a source, of which bool [s, L] are real; None: all."""
        mask = None if real is None else real.long()
        found = self.encoder(inputs_embeds=rows, attention_mask=mask)
        return found.last_hidden_state  # type: ignore[no-any-return]

    def try_layers(self, rows: Tensor) -> None:
        """Run all layers over rows [s, L, H]."""
        read = self._encoded_rows(rows, None)
        self.decoder(inputs_embeds=rows, encoder_hidden_states=read, use_cache=False)

    def decode(
        self, states: Tensor, layout: Layout, memory: Tensor | None, source: Layout | None
    ) -> Tensor:
        """See `ofacore.protocols.Backbone.decode`."""
        lengths, forward = lengths_of(layout), runs_forward(layout)
        chosen = like_lengths(lengths.host, range(layout.sequences), self.waste(states))
        groups = [lengths.group(numbers) for numbers in chosen]
        states = states * self.scale_target
        reads = self.reads(memory, source, layout.memory, states)
        parts = []
        for group in groups:
            rows = self._prompted(group.rows(states))
            ahead = rows.shape[1] - group.index.shape[1]
            seen = None if forward else _behind_prompt(seen_in(layout, group), ahead)
            mask = None if seen is None else as_scores(seen, states.dtype)
            read, real = reads.of(group.sequences)
            self.owners.note(layout, group.index[:, 0])
            found = self.decoder(
                inputs_embeds=rows,
                attention_mask=mask,
                encoder_hidden_states=read,
                use_cache=False,
                **self.seen(real, states),
            )
            parts.append(found.last_hidden_state[:, ahead:])
        return as_stream(groups, parts, states) * self.scale_out

    def reads(
        self, memory: Tensor | None, source: Layout | None, which: Tensor | None, like: Tensor
    ) -> Reads:
        """What target sequences read; see `Reads`."""
        lengths = None if source is None else lengths_of(source)
        return Reads(memory, lengths, which, like)

    def seen(self, real: Tensor | None, like: Tensor) -> Mapping[str, Tensor | None]:
        """What tells the decoder where there is something to read.

        Args:
            real: int64 [s, K]: 1 where there is; None: everywhere.
            like: Of the type of states.
        """
        return {"encoder_attention_mask": real} if self.masked else {}

    def _prompted(self, rows: Tensor) -> Tensor:
        """Rows [s, L, H] behind what the decoder reads first: [s, p + L, H]."""
        if self.prompt is None:
            return rows
        prompt = (self.prompt * self.scale_target).to(rows.dtype)
        return torch.cat([prompt.expand(len(rows), -1, -1), rows], dim=1)

    def step(
        self, states: Tensor, cache: Any, read: Tensor, real: Tensor | None, begins: bool
    ) -> Tensor:
        """Hidden states [R, n, H] of positions behind those of a cache of transformers, which takes them in.

        Args:
            states: [R, n, H].
            cache: Of R rows.
            read: What they read: [R, K, H].
            real: int64 [R, K]: 1 where there is something to read; None: everywhere.
            begins: Nothing came before.
        """
        n, rows = states.shape[1], states * self.scale_target
        given = {self.cache_name: cache, **self.seen(real, states)}
        if begins:
            rows = self._prompted(rows)
        found = self.decoder(
            inputs_embeds=rows,
            encoder_hidden_states=read,
            use_cache=True,
            **given,
        )
        return found.last_hidden_state[:, -n:] * self.scale_out  # type: ignore[no-any-return]


def _behind_prompt(seen: Tensor, ahead: int) -> Tensor:
    """bool [s, L, L] -> [s, p + L, p + L]: all see the positions in front, these see earlier ones."""
    if not ahead:
        return seen
    length = seen.shape[1] + ahead
    whole = seen.new_ones(length, length).tril().repeat(len(seen), 1, 1)
    whole[:, ahead:, ahead:] = seen
    return whole


class Reads:
    """What target sequences read of a source; one without a source reads a state of zeros.

    Args:
        memory: Encoder output [N, H], or None.
        lengths: Of its sequences, or None.
        which: int64 [S]: the source sequence of each target sequence, -1 for none; None: there is none at all.
        like: Of the width, type and device of states.
    """

    def __init__(
        self, memory: Tensor | None, lengths: Lengths | None, which: Tensor | None, like: Tensor
    ) -> None:
        nothing = memory is None or lengths is None or which is None or not len(memory)
        self.memory = None if nothing else memory
        self.which, self.like = which, like
        self.lengths = None if nothing else lengths

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
