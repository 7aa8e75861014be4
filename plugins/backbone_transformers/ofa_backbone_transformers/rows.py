"""A stream as padded rows, sequences of like length together.

Shapes: N positions of a stream, S sequences, s of them in a group, L positions of the longest one there, H the width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ofacore.protocols import Layout

WASTE = 256
"""Empty places that a group may have before another one begins: what a call of the layers costs besides."""
_WASTE_ON_CPU, _WIDTH = 64, 256
"""The same on a processor, at this width and above: there a call costs what its weights do, read and summed up."""


@dataclass(frozen=True)
class Group:
    """Some sequences of a stream, one row each."""

    sequences: Tensor
    """int64 [s]: their numbers."""
    index: Tensor
    """int64 [s, L]: place of each position in the stream, 0 where empty."""
    real: Tensor
    """bool [s, L]: there is a position; those of a sequence come first, in order."""
    full: bool
    """No place is empty."""

    def rows(self, stream: Tensor) -> Tensor:
        """Stream [N, ...] -> [s, L, ...]; empty places hold what the first position of the stream does."""
        return stream[self.index]


@dataclass(frozen=True)
class Lengths:
    """How long the sequences of a stream are, and where they begin."""

    starts: Tensor
    """int64 [S]."""
    counts: Tensor
    """int64 [S]."""
    host: tuple[int, ...]
    """The counts, known without asking the device."""

    def group(self, chosen: Sequence[int]) -> Group:
        """Some sequences as rows."""
        longest = max(self.host[number] for number in chosen)
        device = self.starts.device
        sequences = torch.tensor(list(chosen), device=device)
        number = torch.arange(longest, device=device)
        real = number < self.counts[sequences][:, None]
        index = torch.where(real, self.starts[sequences][:, None] + number, 0)
        full = all(self.host[number] == longest for number in chosen)
        return Group(sequences, index, real, full)


def waste_of(states: Tensor) -> int:
    """Empty places that a group of rows may have; on a processor fewer, unless states [N, H] are narrow."""
    if states.device.type != "cpu":
        return WASTE
    narrow = max(1.0, (_WIDTH / states.shape[-1]) ** 2)
    return min(WASTE, int(_WASTE_ON_CPU * narrow))


def lengths_of(layout: Layout) -> Lengths:
    """Of each sequence of a layout."""
    counts = torch.bincount(layout.sequence, minlength=layout.sequences)
    return Lengths(counts.cumsum(0) - counts, counts, tuple(counts.tolist()))


def like_lengths(host: Sequence[int], chosen: Sequence[int], waste: int) -> list[list[int]]:
    """Sequences in groups of like length, the longest first; a group has at most so many empty places.

    Args:
        host: Length of each sequence.
        chosen: Numbers of the sequences to group; those without a position are left out.
        waste: Empty places of a group; -1: any number, so that there is one group.
    """
    groups: list[list[int]] = []
    spent = 0
    for number in sorted((n for n in chosen if host[n]), key=lambda n: -host[n]):
        lost = host[groups[-1][0]] - host[number] if groups else 0
        if not groups or 0 <= waste < spent + lost:
            groups.append([])
            spent = lost = 0
        groups[-1].append(number)
        spent += lost
    return groups


def as_stream(groups: Sequence[Group], parts: Sequence[Tensor], like: Tensor) -> Tensor:
    """Rows [s, L, H] of all groups -> stream [N, H]."""
    if not groups:
        return like
    found = torch.cat([part[group.real] for group, part in zip(groups, parts, strict=True)])
    places = torch.cat([group.index[group.real] for group in groups])
    return found.index_select(0, torch.argsort(places))


def as_scores(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """bool [s, L, K], who sees whom -> [s, 1, L, K] to add to the scores of attention."""
    hidden = torch.finfo(dtype).min
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, hidden)[
        :, None
    ]


def seen_in(layout: Layout, group: Group) -> Tensor:
    """bool [s, L, L]: position i of a target row sees position j, as `ofacore.protocols.Backbone` says.

    An empty place sees itself, so that no softmax runs over nothing.
    """
    segment, visible = layout.segment[group.index], layout.visible[group.index]
    causal = layout.causal[group.index]
    own = segment[:, :, None] == segment[:, None, :]
    number = torch.arange(group.index.shape[1], device=group.index.device)
    past = number <= number[:, None]
    within = own & (past | ~causal[:, :, None])
    across = ~own & past & visible[:, None, :]
    both = group.real[:, :, None] & group.real[:, None, :]
    return (both & (within | across)) | torch.diag_embed(~group.real)


def runs_forward(layout: Layout) -> bool:
    """Whether every position sees all earlier ones and no later one, as layers do without a mask."""
    return bool((layout.causal & layout.visible).all())
