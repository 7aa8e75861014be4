"""From encoded rows to a micro-batch: one stream of positions a side, one call an adapter, one group a kind of loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ofacore.batching.facts import (
    counts_up,
    fully_seen,
    is_plain,
    memory_seen,
    order_of,
    row_places,
)
from ofacore.batching.packing import FLOOR, pack
from ofacore.contract.batch import LayoutFacts
from ofacore.protocols import (
    AdapterCall,
    Batch,
    BatchSide,
    Example,
    Layout,
    Piece,
    SampleInfo,
    TermGroup,
    TermItem,
)


@dataclass(frozen=True)
class _Stream:
    """Pieces of one side in stream order."""

    pieces: list[Piece]
    names: list[str]
    """``task/slot`` of each piece."""
    owners: np.ndarray
    """int64 [pieces]: sequence of each piece."""
    starts: np.ndarray
    """int64 [pieces + 1]: first position of each piece."""
    spans: np.ndarray
    """int64 [sequences, 2]: first position and end of each sequence."""
    tasks: list[str]
    """Task of each sequence."""
    first_piece: list[int]
    """Per example: number of its first piece of this side."""


def collate(
    examples: Sequence[Example], *, packing: bool = True, numbers: Sequence[int] | None = None
) -> Batch:
    """Make one micro-batch of any mix of tasks.

    Args:
        examples: Encoded rows; an example may lack a source or a target.
        packing: Several sequences share a row of an attention matrix; otherwise each has its own, and all rows are
            one group, padded to the longest.
        numbers: Sample number of each example within its task.
    """
    tasks = tuple(dict.fromkeys(example.task for example in examples))
    source, first_source = _stream(examples, [example.source for example in examples])
    target, _ = _stream(
        examples, [(example.target,) if example.target else () for example in examples]
    )
    memory = [first_source[i] if e.source else -1 for i, e in enumerate(examples) if e.target]
    numbers = numbers or [0] * len(examples)
    return Batch(
        _side(source, tasks, packing) if source.pieces else None,
        _side(target, tasks, packing, memory, source.spans) if target.pieces else None,
        _term_groups(examples, {"source": source, "target": target}),
        tuple(
            SampleInfo(e.task, e.row_id, number)
            for e, number in zip(examples, numbers, strict=True)
        ),
    )


def split_micro_batches(
    examples: Sequence[Example], positions: int, samples: int = 0, *, by_length: bool = False
) -> list[list[int]]:
    """Numbers of the examples of each micro-batch; every example is in exactly one, in order.

    Args:
        examples: All examples of a step.
        positions: Most positions of both sides together; a longer example is a micro-batch of its own.
        samples: Most examples; 0: no limit.
        by_length: Put examples of similar length together, which saves padding where nothing is packed.
    """
    lengths = [example_length(example) for example in examples]
    order = (
        sorted(range(len(examples)), key=lambda i: (lengths[i], i))
        if by_length
        else range(len(examples))
    )
    batches: list[list[int]] = []
    room = 0
    for number in order:
        full = samples and batches and len(batches[-1]) >= samples
        if not batches or full or lengths[number] > room:
            batches.append([])
            room = positions
        batches[-1].append(number)
        room -= lengths[number]
    return batches


def example_length(example: Example) -> int:
    """Positions of both sides."""
    pieces = [piece for sequence in (*example.source, example.target) for piece in sequence]
    return sum(piece.length for piece in pieces)


def _stream(
    examples: Sequence[Example], sequences: Sequence[Sequence[Sequence[Piece]]]
) -> tuple[_Stream, list[int]]:
    """The stream, and the number of each example's first sequence."""
    pieces: list[Piece] = []
    names: list[str] = []
    owners: list[int] = []
    tasks: list[str] = []
    firsts, first_piece = [], []
    for example, own in zip(examples, sequences, strict=True):
        firsts.append(len(tasks))
        first_piece.append(len(pieces))
        for sequence in own:
            pieces += sequence
            names += [f"{example.task}/{piece.slot.name}" for piece in sequence]
            owners += [len(tasks)] * len(sequence)
            tasks.append(example.task)
    starts = np.cumsum([0, *(piece.length for piece in pieces)])
    bounds = np.searchsorted(owners, np.arange(len(tasks) + 1))
    spans = np.stack([starts[bounds[:-1]], starts[bounds[1:]]], axis=1)
    return _Stream(
        pieces, names, np.array(owners, np.int64), starts, spans, tasks, first_piece
    ), firsts


def _side(
    stream: _Stream,
    tasks: tuple[str, ...],
    packing: bool,
    memory: list[int] | None = None,
    source_spans: np.ndarray | None = None,
) -> BatchSide:
    lengths = np.diff(stream.starts)
    adapters = tuple(dict.fromkeys(piece.adapter for piece in stream.pieces))
    own_task = np.array([tasks.index(task) for task in stream.tasks], np.int64)
    sequence = np.repeat(stream.owners, lengths)
    groups = _groups(stream, packing, memory, source_spans)
    layout = Layout(
        sequence=_tensor(sequence),
        segment=_tensor(np.repeat(np.arange(len(lengths)), lengths)),
        coordinates=_tensor(np.concatenate([piece.coordinates for piece in stream.pieces])),
        causal=_tensor(np.repeat([piece.causal for piece in stream.pieces], lengths)),
        visible=_tensor(np.repeat([piece.visible for piece in stream.pieces], lengths)),
        adapter=_tensor(
            np.repeat([adapters.index(piece.adapter) for piece in stream.pieces], lengths)
        ),
        adapters=adapters,
        task=_tensor(own_task[sequence]),
        tasks=tasks,
        slots=tuple(stream.names),
        rows=_matrices(groups, stream.spans),
        sequences=len(stream.tasks),
    )
    plain = [
        is_plain(stream.pieces[a:b], memory is not None) for a, b in _pieces_of_sequences(stream)
    ]
    counts = (stream.spans[:, 1] - stream.spans[:, 0]).tolist()
    facts = LayoutFacts(
        fully_seen(groups, counts, plain),
        row_places(layout.rows, len(sequence)),
        tuple(np.bincount(layout.adapter.numpy(), minlength=len(adapters)).tolist()),
        tuple(np.bincount(layout.task.numpy(), minlength=len(tasks)).tolist()),
    )
    if memory is not None and source_spans is not None:
        layout.memory = torch.tensor(memory, dtype=torch.long)
        read = [[[memory[s] for s in row if memory[s] >= 0] for row in rows] for rows in groups]
        layout.memory_rows = _matrices(
            [[list(dict.fromkeys(row)) for row in rows] for rows in read], source_spans
        )
        source_counts = (source_spans[:, 1] - source_spans[:, 0]).tolist()
        full, blind = memory_seen(groups, counts, memory, source_counts)
        places = row_places(layout.memory_rows, sum(source_counts), once=False)
        facts = replace(facts, memory_full=full, memory_blind=blind, memory_places=places)
    layout.facts = facts
    calls = tuple(
        _call(name, number, stream, layout.adapter.numpy()) for number, name in enumerate(adapters)
    )
    return BatchSide(layout, calls, *order_of(calls))


def _pieces_of_sequences(stream: _Stream) -> list[tuple[int, int]]:
    """Number of the first piece of each sequence, and of the one behind its last."""
    bounds = np.searchsorted(stream.owners, np.arange(len(stream.tasks) + 1)).tolist()
    return list(zip(bounds[:-1], bounds[1:], strict=True))


def _groups(
    stream: _Stream, packing: bool, memory: list[int] | None, source_spans: np.ndarray | None
) -> list[list[list[int]]]:
    """Groups of rows of sequence numbers."""
    lengths = (stream.spans[:, 1] - stream.spans[:, 0]).tolist()
    if not packing:
        return [[[number] for number in range(len(lengths))]]
    if memory is None or source_spans is None:
        return pack([(length,) for length in lengths], (FLOOR,))
    source_lengths = (source_spans[:, 1] - source_spans[:, 0]).tolist()
    read = [source_lengths[s] if s >= 0 else 0 for s in memory]
    return pack(list(zip(lengths, read, strict=True)), (FLOOR // 2, FLOOR))


def _matrices(groups: Sequence[Sequence[Sequence[int]]], spans: np.ndarray) -> tuple[Tensor, ...]:
    """For each group of rows of sequence numbers int64 [rows, longest] of positions, -1 where empty."""
    rows = [row for group in groups for row in group]
    begins, ends = spans[[number for row in rows for number in row]].T
    lengths = ends - begins
    stops = lengths.cumsum()
    positions = np.arange(stops[-1] if len(stops) else 0) + np.repeat(ends - stops, lengths)
    sizes = np.bincount(
        np.repeat(np.arange(len(rows)), [*map(len, rows)]), lengths, len(rows)
    ).astype(np.int64)
    matrices, row, place = [], 0, 0
    for group in groups:
        own = sizes[row : row + len(group)]
        matrix = np.full((len(group), own.max(initial=0)), -1, np.int64)
        count = int(own.sum())
        matrix[np.arange(matrix.shape[1]) < own[:, None]] = positions[place : place + count]
        matrices.append(torch.from_numpy(matrix))
        row, place = row + len(group), place + count
    return tuple(matrices)


def _call(adapter: str, number: int, stream: _Stream, owners: np.ndarray) -> AdapterCall:
    pieces = [piece for piece in stream.pieces if piece.adapter == adapter]
    features = _concatenated([piece.features for piece in pieces], f"adapter '{adapter}'")
    return AdapterCall(
        adapter,
        features,
        tuple(piece.shape for piece in pieces),
        _tensor(np.flatnonzero(owners == number)),
    )


def _term_groups(
    examples: Sequence[Example], streams: Mapping[str, _Stream]
) -> tuple[TermGroup, ...]:
    groups: dict[Any, list[tuple[int, TermItem]]] = {}
    for number, example in enumerate(examples):
        for item in example.terms:
            options = tuple(sorted((name, repr(value)) for name, value in item.options.items()))
            key = (
                item.head,
                item.criterion,
                item.side,
                item.blocks,
                options,
                tuple(sorted(item.labels)),
            )
            groups.setdefault(key, []).append((number, item))
    return tuple(_term_group(members, streams[members[0][1].side]) for members in groups.values())


def _term_group(members: Sequence[tuple[int, TermItem]], stream: _Stream) -> TermGroup:
    first = members[0][1]
    starts = stream.starts.tolist()
    index = [_positions(item, starts, stream.first_piece[number]) for number, item in members]
    items = [item for _, item in members]
    whole = np.concatenate(index)
    return TermGroup(
        head=first.head,
        criterion=first.criterion,
        side=first.side,
        options=first.options,
        blocks=first.blocks,
        index=_tensor(whole),
        lengths=tuple(map(len, index)),
        labels=_concatenated(
            [item.labels for item in items], f"labels of criterion '{first.criterion}'"
        ),
        label_lengths={
            name: tuple(len(item.labels[name]) for item in items) for name in first.labels
        },
        terms=tuple(item.term for item in items),
        counts=tuple(item.count for item in items),
        weights=tuple(item.weight for item in items),
        samples=tuple(number for number, _ in members),
        whole=len(whole) == starts[-1] and counts_up(whole),
    )


def _positions(item: TermItem, starts: Sequence[int], first_piece: int) -> np.ndarray:
    """Positions of the stream that an item learns on."""
    spans = [np.arange(starts[first_piece + p], starts[first_piece + p + 1]) for p in item.pieces]
    whole = spans[0] if len(spans) == 1 else np.concatenate(spans)
    return whole if item.positions is None else whole[item.positions]


def _concatenated(parts: Sequence[Mapping[str, np.ndarray]], owner: str) -> dict[str, Tensor]:
    names = parts[0].keys()
    for part in parts:
        if part.keys() != names:
            raise ValueError(
                f"{owner}: segments bring different features, {sorted(names)} and {sorted(part)}"
            )
    return {name: _joined([np.asarray(part[name]) for part in parts]) for name in parts[0]}


def _joined(arrays: Sequence[np.ndarray]) -> Tensor:
    """Arrays one below the other, in memory of torch.

    numpy's memory begins anywhere; kernels that choose their way by alignment would round differently from run to run.
    """
    first = torch.from_numpy(np.empty(0, np.result_type(*arrays)))
    joined = first.new_empty((sum(map(len, arrays)), *arrays[0].shape[1:]))
    np.concatenate(arrays, out=joined.numpy())
    return joined


def _tensor(array: np.ndarray | Iterable[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
