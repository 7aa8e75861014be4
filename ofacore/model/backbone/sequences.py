"""A stream of positions as one padded row for each sequence, for backbones and heads that work on rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ofacore.protocols import Layout


@dataclass(frozen=True)
class PaddedSequences:
    """S sequences of up to L positions, however they share rows of ``layout.rows``."""

    index: Tensor
    """int64 [S, L]: place of each position in the stream, 0 where empty."""
    real: Tensor
    """bool [S, L]: there is a position; those of a sequence come first, in order."""

    def rows(self, x: Tensor) -> Tensor:
        """Stream [N, ...] -> [S, L, ...], zeros where empty."""
        real = self.real.view(*self.real.shape, *(1 for _ in x.shape[1:]))
        if not len(x):
            return x.new_zeros(*self.real.shape, *x.shape[1:])
        return x[self.index] * real

    def stream(self, rows: Tensor) -> Tensor:
        """[S, L, ...] -> stream [N, ...]."""
        return rows[self.real]

    def last(self, rows: Tensor) -> Tensor:
        """[S, L, ...] -> the last position of each sequence [S, ...]; zeros of one that is empty."""
        if not rows.shape[1]:
            return rows.new_zeros(rows.shape[0], *rows.shape[2:])
        lengths = self.real.sum(1)
        found = rows[torch.arange(len(rows), device=rows.device), (lengths - 1).clamp(min=0)]
        return found * (lengths > 0).view(-1, *(1 for _ in found.shape[1:]))


def pad_sequences(layout: Layout) -> PaddedSequences:
    """One row for each of the layout's sequences."""
    counts = torch.bincount(layout.sequence, minlength=layout.sequences)
    longest = int(counts.max()) if len(counts) else 0
    number = torch.arange(longest, device=counts.device)
    real = number < counts[:, None]
    starts = counts.cumsum(0) - counts
    return PaddedSequences(torch.where(real, starts[:, None] + number, 0), real)


def seen_positions(layout: Layout, padded: PaddedSequences, *, target: bool) -> Tensor:
    """bool [S, L, L]: position i sees position j, as `ofacore.protocols.Backbone` says.

    An empty place sees itself, so that no softmax runs over nothing.

    Args:
        layout: Of the side.
        padded: Its sequences.
        target: It is a target: of other segments only earlier ones are seen that are ``visible``.
    """
    index, real = padded.index, padded.real
    segment, causal, visible = layout.segment[index], layout.causal[index], layout.visible[index]
    own = segment[:, :, None] == segment[:, None, :]
    number = torch.arange(index.shape[1], device=index.device)
    past = number <= number[:, None]
    within = own & (past | ~causal[:, :, None])
    across = ~own & past & visible[:, None, :] if target else ~own
    both = real[:, :, None] & real[:, None, :]
    alone = torch.diag_embed(~real)
    return (both & (within | across)) | alone


def read_sequences(
    layout: Layout, memory: Tensor | None, source: Layout | None, width: int | None = None
) -> tuple[Tensor, Tensor]:
    """What each target sequence reads: states [S, K, H] and which of them are real, bool [S, K].

    A sequence without a source reads one state of zeros, so that no softmax runs over nothing.

    Args:
        layout: Of the target.
        memory: Encoder output [N, H], or None.
        source: Its layout, or None.
        width: H, needed where there may be no memory; default: that of ``memory``.

    Raises:
        ValueError: There is neither a memory nor a width.
    """
    device, sequences = layout.sequence.device, layout.sequences
    if memory is None or source is None or layout.memory is None or not len(memory):
        if memory is None and width is None:
            raise ValueError("read_sequences: give the width of the states, as there is no memory")
        size = width if memory is None else memory.shape[-1]
        like = torch.zeros(sequences, 1, size or 0, device=device)
        states = like if memory is None else like.to(memory.dtype)
        return states, torch.ones(sequences, 1, dtype=torch.bool, device=device)
    padded = pad_sequences(source)
    reads = layout.memory.clamp(min=0)
    real = padded.real[reads] & (layout.memory >= 0)[:, None]
    states = padded.rows(memory)[reads] * real[..., None]
    blind = ~real.any(1, keepdim=True)
    first = torch.arange(real.shape[1], device=device) == 0
    return states, real | (blind & first)
