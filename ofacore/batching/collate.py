"""From encoded rows to a micro-batch: one stream of positions a side, one call an adapter, one group a kind of loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ofacore.batching.facts import (
    Groups,
    counts_up,
    fully_seen,
    memory_seen,
    order_of,
    plain_sequences,
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
    lengths: np.ndarray
    """int64 [pieces]: positions of each piece."""
    causal: np.ndarray
    """bool [pieces]."""
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
    targets = [(example.target,) if example.target else () for example in examples]
    target, _ = _stream(examples, targets)
    source_side, target_side = None, None
    if source.pieces:
        source_side = _side(source, tasks, packing)
    if target.pieces:
        read = [first_source[i] if e.source else -1 for i, e in enumerate(examples) if e.target]
        target_side = _side(target, tasks, packing, read, source.spans)
    numbers = numbers or [0] * len(examples)
    samples = [
        SampleInfo(example.task, example.row_id, number)
        for example, number in zip(examples, numbers, strict=True)
    ]
    terms = _term_groups(examples, {"source": source, "target": target})
    return Batch(source_side, target_side, terms, tuple(samples))


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
    order = list(range(len(examples)))
    if by_length:
        order.sort(key=lambda number: lengths[number])
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
    tasks: list[str] = []
    bounds, firsts, first_piece = [0], [], []
    for example, own in zip(examples, sequences, strict=True):
        firsts.append(len(tasks))
        first_piece.append(len(pieces))
        for sequence in own:
            pieces += sequence
            names += [f"{example.task}/{piece.slot.name}" for piece in sequence]
            tasks.append(example.task)
            bounds.append(len(pieces))
    lengths = np.array([len(piece.coordinates) for piece in pieces], np.int64)
    causal = np.array([piece.causal for piece in pieces], np.bool_)
    starts = _stops(lengths)
    edges = np.array(bounds)
    owners = np.repeat(np.arange(len(tasks)), np.diff(edges))
    spans = np.stack([starts[edges[:-1]], starts[edges[1:]]], axis=1)
    return _Stream(
        pieces, names, owners, lengths, causal, starts, spans, tasks, first_piece
    ), firsts


def _stops(lengths: np.ndarray) -> np.ndarray:
    """int64 [n + 1]: where each of n parts begins, one behind the other, and where the last ends."""
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts


def _side(
    stream: _Stream,
    tasks: tuple[str, ...],
    packing: bool,
    memory: list[int] | None = None,
    source_spans: np.ndarray | None = None,
) -> BatchSide:
    """One side of a batch; ``memory`` is the source sequence that each sequence of a target reads, -1 for none."""
    groups = _groups(stream, packing, memory, source_spans)
    layout = _layout(stream, tasks, groups)
    facts = _facts(stream, layout, groups, target=memory is not None)
    if memory is not None and source_spans is not None:
        facts = _with_memory(facts, layout, stream, groups, memory, source_spans)
    layout.facts = facts
    owners = layout.adapter.numpy()
    calls = [_call(name, number, stream, owners) for number, name in enumerate(layout.adapters)]
    return BatchSide(layout, tuple(calls), *order_of(calls))


def _layout(stream: _Stream, tasks: tuple[str, ...], groups: Groups) -> Layout:
    pieces, lengths = stream.pieces, stream.lengths
    adapters = tuple(dict.fromkeys([piece.adapter for piece in pieces]))
    number_of = {name: number for number, name in enumerate(adapters)}
    numbers = [number_of[piece.adapter] for piece in pieces]
    task_of = {name: number for number, name in enumerate(tasks)}
    own_task = np.array([task_of[task] for task in stream.tasks], np.int64)
    sequence = np.repeat(stream.owners, lengths)
    return Layout(
        sequence=_tensor(sequence),
        segment=_tensor(np.repeat(np.arange(len(lengths)), lengths)),
        coordinates=_tensor(np.concatenate([piece.coordinates for piece in pieces])),
        causal=_tensor(np.repeat(stream.causal, lengths)),
        visible=_tensor(np.repeat([piece.visible for piece in pieces], lengths)),
        adapter=_tensor(np.repeat(numbers, lengths)),
        adapters=adapters,
        task=_tensor(own_task[sequence]),
        tasks=tasks,
        slots=tuple(stream.names),
        rows=_matrices(groups, stream.spans),
        sequences=len(stream.tasks),
    )


def _facts(stream: _Stream, layout: Layout, groups: Groups, target: bool) -> LayoutFacts:
    sequences = len(stream.tasks)
    plain = plain_sequences(stream.owners, stream.lengths, stream.causal, sequences, target)
    by_adapter = np.bincount(layout.adapter.numpy(), minlength=len(layout.adapters))
    by_task = np.bincount(layout.task.numpy(), minlength=len(layout.tasks))
    return LayoutFacts(
        fully_seen(groups, _lengths(stream.spans), plain),
        row_places(layout.rows, len(layout.sequence)),
        tuple(by_adapter.tolist()),
        tuple(by_task.tolist()),
    )


def _with_memory(
    facts: LayoutFacts,
    layout: Layout,
    stream: _Stream,
    groups: Groups,
    memory: list[int],
    source_spans: np.ndarray,
) -> LayoutFacts:
    """Notes what the rows of a target read: of a source that several sequences of a row read, one copy."""
    read = []
    for rows in groups:
        read.append([_sources_of(row, memory) for row in rows])
    source_lengths = _lengths(source_spans)
    layout.memory = torch.tensor(memory, dtype=torch.long)
    layout.memory_rows = _matrices(read, source_spans)
    full, blind = memory_seen(groups, _lengths(stream.spans), memory, source_lengths)
    places = row_places(layout.memory_rows, sum(source_lengths), once=False)
    return replace(facts, memory_full=full, memory_blind=blind, memory_places=places)


def _sources_of(row: Sequence[int], memory: Sequence[int]) -> list[int]:
    return list(dict.fromkeys(memory[number] for number in row if memory[number] >= 0))


def _lengths(spans: np.ndarray) -> list[int]:
    found: list[int] = (spans[:, 1] - spans[:, 0]).tolist()
    return found


def _groups(
    stream: _Stream, packing: bool, memory: list[int] | None, source_spans: np.ndarray | None
) -> Groups:
    lengths = _lengths(stream.spans)
    if not packing:
        return [[[number] for number in range(len(lengths))]]
    if memory is None or source_spans is None:
        return pack([(length,) for length in lengths], (FLOOR,))
    source_lengths = _lengths(source_spans)
    read = [source_lengths[source] if source >= 0 else 0 for source in memory]
    return pack(list(zip(lengths, read, strict=True)), (FLOOR // 2, FLOOR))


def _matrices(groups: Groups, spans: np.ndarray) -> tuple[Tensor, ...]:
    """For each group of rows of sequence numbers int64 [rows, longest] of positions, -1 where empty."""
    rows = [row for group in groups for row in group]
    numbers = [number for row in rows for number in row]
    begins, ends = spans[numbers].T
    lengths = ends - begins
    stops = lengths.cumsum()
    positions = np.arange(lengths.sum()) + np.repeat(ends - stops, lengths)
    row_of = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    sizes = np.bincount(row_of, lengths, len(rows)).astype(np.int64)
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
    shapes = tuple(piece.shape for piece in pieces)
    index = _tensor(np.flatnonzero(owners == number))
    return AdapterCall(adapter, features, shapes, index)


def _term_groups(
    examples: Sequence[Example], streams: Mapping[str, _Stream]
) -> tuple[TermGroup, ...]:
    groups: dict[Any, list[tuple[int, TermItem]]] = {}
    for number, example in enumerate(examples):
        for item in example.terms:
            groups.setdefault(_kind_of(item), []).append((number, item))
    return tuple(_term_group(members, streams[members[0][1].side]) for members in groups.values())


def _kind_of(item: TermItem) -> tuple[Any, ...]:
    """Items of one kind go through head and criterion together."""
    options: list[tuple[str, str]] = []
    if item.options:
        options = sorted([(name, repr(value)) for name, value in item.options.items()])
    labels = tuple(item.labels) if len(item.labels) == 1 else tuple(sorted(item.labels))
    return item.head, item.criterion, item.side, item.blocks, tuple(options), labels


def _term_group(members: Sequence[tuple[int, TermItem]], stream: _Stream) -> TermGroup:
    first = members[0][1]
    starts = stream.starts.tolist()
    index = [_positions(item, starts, stream.first_piece[number]) for number, item in members]
    items = [item for _, item in members]
    owner = f"labels of criterion '{first.criterion}'"
    label_lengths = {name: _lengths_of(items, name) for name in first.labels}
    whole = np.concatenate(index)
    return TermGroup(
        head=first.head,
        criterion=first.criterion,
        side=first.side,
        options=first.options,
        blocks=first.blocks,
        index=_tensor(whole),
        lengths=tuple(map(len, index)),
        labels=_concatenated([item.labels for item in items], owner),
        label_lengths=label_lengths,
        terms=tuple(item.term for item in items),
        counts=tuple(item.count for item in items),
        weights=tuple(item.weight for item in items),
        samples=tuple(number for number, _ in members),
        whole=len(whole) == starts[-1] and counts_up(whole),
    )


def _lengths_of(items: Sequence[TermItem], label: str) -> tuple[int, ...]:
    return tuple([len(item.labels[label]) for item in items])


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
    joined = {}
    for name in parts[0]:
        joined[name] = _joined([np.asarray(part[name]) for part in parts])
    return joined


def _joined(arrays: Sequence[np.ndarray]) -> Tensor:
    """Arrays one below the other, in memory of torch.

    numpy's memory begins anywhere; kernels that choose their way by alignment would round differently from run to run.
    """
    kinds = {array.dtype for array in arrays}
    kind = kinds.pop() if len(kinds) == 1 else np.result_type(*arrays)
    first = torch.from_numpy(np.empty(0, kind))
    joined = first.new_empty((sum(map(len, arrays)), *arrays[0].shape[1:]))
    np.concatenate(arrays, out=joined.numpy())
    return joined


def _tensor(array: np.ndarray | Iterable[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
