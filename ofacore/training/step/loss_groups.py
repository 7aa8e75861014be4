"""Loss groups with fewer items, or those of several micro-batches as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from ofacore.protocols import TermGroup

T = TypeVar("T")


def keep_items(group: TermGroup, items: Sequence[int]) -> TermGroup:
    """The group with some of its items only, in the given order; at least one."""
    return replace(
        group,
        index=_pieces(group.index, group.lengths, items),
        lengths=_chosen(group.lengths, items),
        labels={
            name: _pieces(rows, group.label_lengths[name], items)
            for name, rows in group.labels.items()
        },
        label_lengths={
            name: _chosen(lengths, items) for name, lengths in group.label_lengths.items()
        },
        terms=_chosen(group.terms, items),
        counts=_chosen(group.counts, items),
        weights=_chosen(group.weights, items),
        samples=_chosen(group.samples, items),
        whole=None,
    )


def without(groups: Iterable[TermGroup], samples: Sequence[int]) -> list[TermGroup]:
    """Groups without the items of some samples; a group that loses all of them is left out.

    Leaving the items out of the criterion, rather than their values out of the sum, keeps the derivative of what is not
    finite (0 times NaN) out of the gradient.
    """
    kept = []
    for group in groups:
        items = [item for item, sample in enumerate(group.samples) if sample not in samples]
        if len(items) == len(group.samples):
            kept.append(group)
        elif items:
            kept.append(keep_items(group, items))
    return kept


def join_groups(groups: Sequence[TermGroup], offsets: Sequence[int]) -> TermGroup:
    """Groups of several micro-batches as one; ``offsets`` renumber their samples. Its ``index`` means nothing."""
    first = groups[0]
    labels = {}
    for name in first.labels:
        labels[name] = torch.cat([group.labels[name] for group in groups])
    label_lengths = {}
    for name in first.label_lengths:
        label_lengths[name] = _chained(group.label_lengths[name] for group in groups)
    samples: list[int] = []
    for group, offset in zip(groups, offsets, strict=True):
        samples += [sample + offset for sample in group.samples]
    return replace(
        first,
        lengths=_chained(group.lengths for group in groups),
        labels=labels,
        label_lengths=label_lengths,
        terms=_chained(group.terms for group in groups),
        counts=_chained(group.counts for group in groups),
        weights=_chained(group.weights for group in groups),
        samples=tuple(samples),
    )


def _chained(parts: Iterable[tuple[T, ...]]) -> tuple[T, ...]:
    return tuple(value for part in parts for value in part)


def _chosen(values: tuple[T, ...], items: Sequence[int]) -> tuple[T, ...]:
    return tuple(values[item] for item in items)


def _pieces(rows: Tensor, lengths: Sequence[int], items: Sequence[int]) -> Tensor:
    parts = rows.split(list(lengths))
    return torch.cat([parts[item] for item in items])
