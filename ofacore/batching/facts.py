"""What is known of a micro-batch when it is made: found here, on the host, the model need not ask the device for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from ofacore.contract.batch import RowPlaces
from ofacore.protocols import AdapterCall

Groups = Sequence[Sequence[Sequence[int]]]
"""Attention groups of rows of sequence numbers."""


def plain_sequences(
    owners: np.ndarray, lengths: np.ndarray, causal: np.ndarray, sequences: int, target: bool
) -> list[bool]:
    """For each sequence: every position sees every other in self-attention.

    Of a target later segments see earlier ones, but not the other way round.

    Args:
        owners: int64 [pieces], sequence of each piece.
        lengths: int64 [pieces], positions of each.
        causal: bool [pieces].
        sequences: How many there are.
        target: They are those of a target.
    """
    turned = np.bincount(owners[causal & (lengths > 1)], minlength=sequences) > 0
    if target:
        turned |= np.bincount(owners[lengths > 0], minlength=sequences) > 1
    found: list[bool] = (~turned).tolist()
    return found


def fully_seen(groups: Groups, lengths: Sequence[int], plain: Sequence[bool]) -> tuple[bool, ...]:
    """For each group: no place is empty and every position sees every other of its row.

    Args:
        groups: Rows of sequence numbers.
        lengths: Of each sequence.
        plain: Of each sequence; see `plain_sequences`.
    """

    def full(rows: Sequence[Sequence[int]]) -> bool:
        alone = all(len(row) == 1 and plain[row[0]] for row in rows)
        return alone and len({lengths[row[0]] for row in rows}) <= 1

    return tuple(full(rows) for rows in groups)


def memory_seen(
    groups: Groups, lengths: Sequence[int], memory: Sequence[int], source_lengths: Sequence[int]
) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    """For each group of a target: every position reads every key or none at all; some place reads nothing.

    Args:
        groups: Rows of target sequence numbers.
        lengths: Of each target sequence.
        memory: Source sequence that each of them reads, -1 for none.
        source_lengths: Of each source sequence.
    """
    full, blind = [], []
    for rows in groups:
        held = [_held(row, lengths) for row in rows]
        read = [_sources_read(row, memory, source_lengths) for row in held]
        full.append(_reads_all_or_none(read, source_lengths))
        numbers = [number for row in held for number in row]
        idle = any(memory[n] < 0 or not source_lengths[memory[n]] for n in numbers)
        places = {_total(row, lengths) for row in rows}
        blind.append(idle or len(places) > 1)
    return tuple(full), tuple(blind)


def _held(row: Sequence[int], lengths: Sequence[int]) -> list[int]:
    """The sequences of a row that have positions."""
    return [number for number in row if lengths[number]]


def _total(numbers: Iterable[int], lengths: Sequence[int]) -> int:
    return sum(lengths[number] for number in numbers)


def _sources_read(
    row: Sequence[int], memory: Sequence[int], source_lengths: Sequence[int]
) -> set[int]:
    """Sources with positions that the sequences of a row read."""
    sources = {memory[number] for number in row if memory[number] >= 0}
    return {source for source in sources if source_lengths[source]}


def _reads_all_or_none(read: Sequence[set[int]], source_lengths: Sequence[int]) -> bool:
    """Every row of a group reads a single source, as long as the longest, or nothing."""
    sizes = [_total(sources, source_lengths) for sources in read]
    widest = max(sizes, default=0)
    for sources, size in zip(read, sizes, strict=True):
        if sources and (len(sources) > 1 or size != widest):
            return False
    return True


def row_places(matrices: Sequence[Tensor], positions: int, once: bool = True) -> RowPlaces:
    """Where the positions of a stream stand in index matrices; ``once``: every one occurs exactly once."""
    flat = np.concatenate([np.empty(0, np.int64), *(matrix.numpy().ravel() for matrix in matrices)])
    if len(flat) == positions and counts_up(flat):
        return RowPlaces(None, None)
    index = torch.from_numpy(flat.clip(0))
    if not once:
        return RowPlaces(index, None)
    inverse, held = np.empty(positions, np.int64), np.flatnonzero(flat >= 0)
    inverse[flat[held]] = held
    return RowPlaces(index, torch.from_numpy(inverse))


def order_of(calls: Sequence[AdapterCall]) -> tuple[bool, Tensor | None]:
    """Whether what the calls give, one behind the other, is the stream; if not, where each position stands in it."""
    index = np.concatenate([call.index.numpy() for call in calls])
    if counts_up(index):
        return True, None
    order = np.empty_like(index)
    order[index] = np.arange(len(index))
    return False, torch.from_numpy(order)


def counts_up(index: np.ndarray) -> bool:
    """Whether an index is 0, 1, 2, ..."""
    return bool((index == np.arange(len(index))).all())
