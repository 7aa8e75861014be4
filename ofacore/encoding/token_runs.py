"""From the segments of a row to pieces: boundaries, shift, separators, clean copies of corrupted segments.

Adjacent segments of shifted tokens form one **run**. In a target run the input position that stands for token ``k``
holds token ``k - 1`` (``<bos>`` for the first) and belongs to the slot of token ``k``, as when the slot is generated.

* A learned slot of open length ends with ``<eos>`` when last in its run, else with ``<sep>``.
* Before each turn of a target repeat the model chooses between the turn's first token and ``<eos>``, which ends the
  repeat and the run; what follows begins a new run.
* When anything follows a run, its last token is fed too, unless that is ``<eos>``.
* Tokens with coordinates of their own stand there, counted from where the run has come to; a terminator, and whatever
  follows, goes on behind the largest of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ofacore.encoding.filling import Filled, RepeatEnd
from ofacore.encoding.pieces import DenseLabels, Geometry, PieceRow, Placed, in_run
from ofacore.ground.vocabulary import BOS, EOS, SEP
from ofacore.protocols import DenseSegment, Piece, RowError, Segment, SlotPlan, TokenSegment

BlocksOf = Callable[[SlotPlan], tuple[str, ...]]
"""Blocks of a slot's tokens; empty for a slot that gives no tokens."""


_ONE = {token: np.array([token], np.int64) for token in (BOS, EOS, SEP)}
_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True)
class RunSettings:
    """What the model's configuration says about sequences."""

    max_positions: int = 1024
    source_boundaries: bool | str = True
    """Token runs of the source get ``<bos>`` and ``<eos>``; ``bos``: the first gets that, ``eos``: the last that."""
    separator: bool = True
    """Open slots inside a run end with ``<sep>``. False: a run has one open slot at most, and ends with ``<eos>``."""
    target_start: str = "bos"
    """What target runs begin with: ``bos``, ``eos``, or ``eos bos``."""

    restart: bool = False
    """Coordinates count from 0 in every run and in every other segment, not on through the sequence."""

    @cached_property
    def start_ids(self) -> tuple[int, ...]:
        """Ids that the decoder reads before the first token of a run."""
        return tuple({"bos": BOS, "eos": EOS}[name] for name in self.target_start.split())


@dataclass(slots=True)
class Occurrence:
    """A filled slot and its segments."""

    item: Filled
    segments: tuple[Segment, ...]


@dataclass
class BuiltSequence:
    """Pieces of one sequence, and which slots they came from."""

    pieces: tuple[Piece, ...]
    placed: tuple[Placed, ...]


def source_sequence(
    occurrences: Sequence[Occurrence], geometry: Mapping[str, Geometry], settings: RunSettings
) -> BuiltSequence:
    """Pieces of a source sequence: everything sees everything.

    Raises:
        RowError: More positions than the model takes.
    """
    row = PieceRow(geometry, settings.restart)
    placed, flat = [], list[tuple[Placed, Segment, bool]]()
    for one in occurrences:
        place = _place(one)
        placed.append(place)
        for part in one.segments:
            flat.append((place, part, isinstance(part, TokenSegment)))
    marks = _boundaries(flat, settings.source_boundaries)
    bounded, behind_dense, end = False, True, len(flat) - 1
    for index, (place, part, _) in enumerate(flat):
        if isinstance(part, DenseSegment):
            row.dense(place, part.features, part.shape, part.causal)
            behind_dense = True
            continue
        first, last = behind_dense, index == end or not flat[index + 1][2]
        if first:
            bounded = part.boundaries and marks is not None
            row.begin_run()
            behind_dense = False
        ids = part.ids if part.inputs is None else part.inputs
        before, behind = bounded and first, bounded and last
        if marks:
            before, behind = before and index == marks[0], behind and index == marks[1]
        if before or behind:
            ids = _between(ids, before, behind)
        if len(ids):
            places = None if part.coordinates is None else in_run(part.coordinates, before, behind)
            row.tokens(place, ids, causal=False, coordinates=places)
    return BuiltSequence(row.finished(settings.max_positions), tuple(placed))


def _boundaries(
    flat: Sequence[tuple[Placed, Segment, bool]], wanted: bool | str
) -> tuple[int, ...] | None:
    """The segments that alone have ``<bos>`` and ``<eos>``, -1 for none; empty: those of every run; None: none has."""
    if not isinstance(wanted, str):
        return () if wanted else None
    tokens = [index for index, (_, _, is_token) in enumerate(flat) if is_token]
    if not tokens:
        return None
    return tokens[0] if wanted == "bos" else -1, tokens[-1] if wanted == "eos" else -1


def _between(ids: np.ndarray, before: bool, behind: bool) -> np.ndarray:
    """int64: ids with ``<bos>`` before them, ``<eos>`` behind them."""
    if not behind:
        return _joined(_ONE[BOS], ids)
    return _joined(_ONE[BOS], ids, _ONE[EOS]) if before else _joined(ids, _ONE[EOS])


def target_sequence(
    items: Sequence[Occurrence | RepeatEnd],
    geometry: Mapping[str, Geometry],
    settings: RunSettings,
    blocks_of: BlocksOf,
) -> BuiltSequence:
    """Pieces of the target and the labels on them.

    Raises:
        RowError: More positions than the model takes, or a repeat that cannot be decided.
    """
    builder = _Target(PieceRow(geometry, settings.restart), settings, blocks_of)
    events = _events(items)
    for event, following in zip(events, [*events, None][1:], strict=True):
        builder.add(event, following)
    held = tuple([place for place in builder.placed if place.pieces])
    return BuiltSequence(builder.row.finished(settings.max_positions), held)


@dataclass(slots=True, eq=False)
class _Part:
    """One segment of an occurrence."""

    place: Placed
    segment: Segment
    choice: SlotPlan | None = None


_Event = _Part | RepeatEnd


def _events(items: Sequence[Occurrence | RepeatEnd]) -> list[_Event]:
    events: list[_Event] = []
    for one in items:
        if isinstance(one, RepeatEnd):
            events.append(one)
            continue
        place = _place(one)
        choice = one.item.choice
        for part in one.segments:
            events.append(_Part(place, part, choice))
            choice = None
    return events


def _place(one: Occurrence) -> Placed:
    item = one.item
    return Placed(item.slot, item.turn, item.slot, one.segments, item.value)


def _in_run(event: _Event | None) -> bool:
    """Whether it continues a run of shifted tokens."""
    if isinstance(event, _Part):
        return isinstance(event.segment, TokenSegment) and event.segment.shift
    return event is not None


class _Target:
    """Builds the target from left to right."""

    def __init__(self, row: PieceRow, settings: RunSettings, blocks_of: BlocksOf) -> None:
        self.row, self.placed = row, list[Placed]()
        self._settings, self._blocks_of = settings, blocks_of
        self._open = self._bounded = False
        self._pending: int | None = None
        self._choice: SlotPlan | None = None
        self._starts: dict[int, np.ndarray] = {}
        """Slot position -> allowed first tokens of its closed set."""

    def add(self, event: _Event, following: _Event | None) -> None:
        """Append one segment or the end of a repeat."""
        if isinstance(event, RepeatEnd):
            self._end_of_repeat(event)
            return
        if not self.placed or self.placed[-1] is not event.place:
            self.placed.append(event.place)
        if event.choice is not None and not _in_run(event):
            raise _undecidable(event.place.slot)
        self._choice = event.choice or self._choice
        if isinstance(event.segment, DenseSegment):
            self._dense(event.place, event.segment, following)
        elif event.segment.shift:
            self._shifted(event.place, event.segment, following)
        else:
            self._unshifted(event.place, event.segment, following)

    def _begin(self, place: Placed, boundaries: bool) -> None:
        if not self._open:
            self.row.begin_run()
            self._open, self._bounded = True, boundaries
            *before, last = self._settings.start_ids
            self._pending = last if boundaries else None
            if boundaries and before:
                self.row.tokens(place, np.array(before, np.int64), causal=True)

    def _shifted(self, place: Placed, segment: TokenSegment, following: _Event | None) -> None:
        self._begin(place, segment.boundaries or self._choice is not None)
        last = not _in_run(following)
        end = self._terminator(place.slot, segment, last)
        fed = segment.ids if segment.inputs is None else segment.inputs
        stream = self._stream(fed) if end is None else self._stream(fed, _ONE[end])
        count = len(segment.ids) + (end is not None)
        if segment.inputs is None:
            labels = stream[len(stream) - count :]
        else:
            closing = _NONE if end is None else _ONE[end]
            labels = _joined(segment.ids, closing)
        learned = _learned(place.slot, segment, count)
        place.blocks = _with_blocks(place.blocks, segment.blocks)
        allowed = _allowed(segment, end)
        if count and self._choice is not None:
            learned, allowed = self._decide(place, learned, allowed)
        flush = last and following is not None
        self._feed(
            place, stream, labels, learned, allowed, flush=flush, coordinates=segment.coordinates
        )
        self._open = self._open and not last

    def _decide(
        self, place: Placed, learned: np.ndarray | None, allowed: list[np.ndarray]
    ) -> tuple[np.ndarray | None, list[np.ndarray]]:
        """The first token stands for the choice to go on: learned, with ``<eos>`` as the alternative."""
        assert self._choice is not None
        if learned is not None:
            if not learned.any():
                place.named = self._choice
            learned[0] = True
        if allowed:
            self._starts[place.slot.position] = np.append(allowed[0], EOS)
            allowed = [self._starts[place.slot.position], *allowed[1:]]
        self._choice = None
        return learned, allowed

    def _stream(self, *fed: np.ndarray) -> np.ndarray:
        """The token that waits to be fed, and those behind it."""
        return _joined(*fed) if self._pending is None else _joined(_single(self._pending), *fed)

    def _feed(
        self,
        place: Placed,
        stream: np.ndarray,
        labels: np.ndarray,
        learned: np.ndarray | None,
        allowed: list[np.ndarray],
        flush: bool,
        coordinates: np.ndarray | None = None,
    ) -> None:
        """Append input positions: the token before each label, and the last token itself if something follows.

        A position stands where the token that it predicts has its coordinates.
        """
        unpredicted = self._pending is None and len(labels) > 0
        self._pending = int(stream[-1]) if len(stream) else None
        inputs = stream if flush and self._pending not in (None, EOS) else stream[:-1]
        if len(inputs):
            if coordinates is not None:
                own = coordinates[int(unpredicted) :]
                coordinates = in_run(own, before=0, behind=len(inputs) - len(own))
            offset = self.row.tokens(place, inputs, causal=True, coordinates=coordinates)
            if unpredicted:
                labels, learned = labels[1:], None if learned is None else learned[1:]
            if learned is None:
                chosen = np.arange(len(labels))
            else:
                chosen = learned.nonzero()[0]
                labels = labels[chosen]
            places = chosen + offset if offset else chosen
            place.learn(places, labels)
            if allowed:
                place.allowed += tuple([allowed[k + unpredicted] for k in chosen])

    def _terminator(self, slot: SlotPlan, segment: TokenSegment, last: bool) -> int | None:
        if not self._bounded:
            return None
        ends = slot.loss and slot.plain is None and segment.open
        if ends and not last and not self._settings.separator:
            raise RowError(
                "model.separator is off, so an open slot must be the last of its run; "
                f"behind [{slot.type}:{slot.name}] something follows"
            )
        if last:
            return EOS if ends or not self._settings.separator else None
        return SEP if ends and self._settings.separator else None

    def _end_of_repeat(self, end: RepeatEnd) -> None:
        blocks = next(
            (p.blocks for p in reversed(self.placed) if p.slot == end.slot and p.blocks), ()
        )
        blocks = blocks or self._blocks_of(end.slot)
        if not blocks:
            raise _undecidable(end.slot)
        place = Placed(end.slot, end.turn, end.choice or end.slot, blocks=blocks)
        self._begin(place, boundaries=True)
        self.placed.append(place)
        starts = self._starts.get(end.slot.position)
        label = np.array([EOS], np.int64)
        learned = np.array([end.choice is not None])
        allowed = [] if starts is None else [starts]
        self._feed(
            place,
            self._stream(label),
            label,
            learned,
            allowed,
            flush=False,
        )
        self._open, self._choice = False, None

    def _unshifted(self, place: Placed, segment: TokenSegment, following: _Event | None) -> None:
        self._open = False
        noised = segment.inputs is not None
        fed = segment.ids if segment.inputs is None else segment.inputs
        if not len(fed):
            return
        self.row.begin_run()
        where = segment.coordinates
        offset = self.row.tokens(
            place, fed.astype(np.int64), causal=False, hidden=noised, coordinates=where
        )
        learned = _learned(place.slot, segment, len(segment.ids))
        chosen = np.arange(len(segment.ids)) if learned is None else np.flatnonzero(learned)
        place.learn(chosen + offset, segment.ids[chosen])
        if segment.allowed is not None:
            place.allowed += tuple([segment.allowed[k] for k in chosen])
        place.blocks = _with_blocks(place.blocks, segment.blocks)
        if noised and following is not None:
            self.row.tokens(place, segment.ids.astype(np.int64), causal=False, coordinates=where)

    def _dense(self, place: Placed, segment: DenseSegment, following: _Event | None) -> None:
        self._open = False
        noised = segment.context is not None
        offset = self.row.dense(
            place, segment.features, segment.shape, segment.causal, hidden=noised
        )
        if place.slot.loss and segment.labels is not None:
            length = place.length - offset
            positions = (
                np.arange(length)
                if segment.loss_positions is None
                else np.asarray(segment.loss_positions)
            )
            found = DenseLabels(segment.labels, positions.astype(np.int64) + offset, segment.blocks)
            place.dense += (found,)
        if segment.context is not None and following is not None:
            self.row.dense(place, segment.context, segment.shape, segment.causal)


def _with_blocks(known: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    """Blocks, each once."""
    if len(more) < 2 and (not known or known == more):
        return tuple(more) or known
    return tuple(dict.fromkeys((*known, *more)))


def _joined(*parts: np.ndarray) -> np.ndarray:
    """int64, one behind the other."""
    return np.concatenate(parts, dtype=np.int64)


def _single(token: int) -> np.ndarray:
    return _ONE[token] if token in _ONE else np.array([token], np.int64)


def _learned(slot: SlotPlan, segment: TokenSegment, count: int) -> np.ndarray | None:
    """bool [count]: what carries loss, None where all does; the terminator does whenever its slot does."""
    if slot.loss and segment.weights is None:
        return None
    learned = np.empty(count, bool)
    learned.fill(slot.loss)
    if slot.loss and segment.weights is not None:
        learned[: len(segment.ids)] = segment.weights
    return learned


def _allowed(segment: TokenSegment, end: int | None) -> list[np.ndarray]:
    """Allowed ids of each label; where a value may end, by the terminator that is used here."""
    if segment.allowed is None:
        return []
    if end is None or end == EOS:
        return list(segment.allowed)
    return [np.where(ids == EOS, end, ids) for ids in segment.allowed]


def _undecidable(slot: SlotPlan) -> RowError:
    problem = f"a repeat in the target must begin with text or a slot of tokens, not [{slot.type}:{slot.name}]"
    return RowError(f"{problem}: its first token is where the model chooses to go on")
