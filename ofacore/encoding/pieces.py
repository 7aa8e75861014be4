"""Pieces of one sequence in a row, each with coordinates behind the maximum of its predecessor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ofacore.encoding.filling import Turn
from ofacore.plugin import PluginError
from ofacore.protocols import Adapter, Options, Piece, RowError, Segment, SlotPlan

TOKEN_FEATURE = "tokens"
"""Name under which an adapter of tokens gets their ids."""


@dataclass(frozen=True)
class Geometry:
    """What the pure functions of an adapter say about shapes. Picklable if the adapter class is importable."""

    adapter: type[Adapter]
    options: Options = field(default_factory=dict)

    def coordinates(self, shape: tuple[int, ...]) -> np.ndarray:
        """int64 [length, 3], from 0."""
        return np.asarray(self.adapter.coordinates(shape, self.options), np.int64)


def _diagonal(start: int, end: int) -> np.ndarray:
    """int64 [end - start, 3]: (i, i, i)."""
    return np.repeat(np.arange(start, end, dtype=np.int64)[:, None], 3, axis=1)


_FAR = 8192
_DIAGONAL = _diagonal(0, _FAR)
_DIAGONAL.flags.writeable = False


def coordinates_problem(coordinates: object, count: int) -> str:
    """What keeps an author's coordinates from being those of so many tokens; empty: nothing."""
    array = np.asarray(coordinates)
    if array.shape != (count, 3) or array.dtype.kind not in "iu":
        found = f"{array.dtype} of shape {array.shape}"
        return f"its {count} tokens have coordinates of {found}; expected int64 of shape ({count}, 3): (t, y, x)"
    if array.size and array.min() < 0:
        return f"a coordinate of its tokens is {array.min()}; they count from 0"
    return ""


def in_run(coordinates: np.ndarray, before: int, behind: int) -> np.ndarray:
    """Coordinates of a segment among other tokens of its run, counted from the first of them.

    Args:
        coordinates: int64 [n, 3] of the segment's own positions, from 0.
        before: Tokens that stand before it, at running positions.
        behind: Tokens that stand behind it, on from its largest coordinate.

    Returns:
        int64 [before + n + behind, 3].
    """
    end = before + int(coordinates.max(initial=-1)) + 1
    parts = (_diagonal(0, before), coordinates + before, _diagonal(end, end + behind))
    return np.concatenate(parts, dtype=np.int64)


@dataclass(slots=True, eq=False)
class Placed:
    """One occurrence of a slot among the pieces of a side, with what is learned on it."""

    slot: SlotPlan
    turn: Turn
    named: SlotPlan
    """Slot whose loss term it counts in; differs for the choice to go on with a repeat."""
    segments: tuple[Segment, ...] = ()
    """What its preprocessor made of the value."""
    value: Any = None
    """The value."""
    pieces: tuple[int, ...] = ()
    """Numbers of its pieces within the sequence."""
    length: int = 0
    """Positions of these pieces."""
    positions: tuple[np.ndarray, ...] = ()
    """Offsets within its pieces where a token is learned, part by part."""
    ids: tuple[np.ndarray, ...] = ()
    """Token learned at each of them."""
    allowed: tuple[np.ndarray, ...] = ()
    """Ids among which each is chosen; empty without a closed set."""
    blocks: tuple[str, ...] = ()
    dense: tuple[DenseLabels, ...] = ()

    def learn(self, positions: np.ndarray, ids: np.ndarray) -> None:
        """Note tokens that are learned at offsets within the pieces."""
        if len(ids):
            self.positions += (positions,)
            self.ids += (ids,)


@dataclass(frozen=True)
class DenseLabels:
    """What is learned on one dense segment."""

    labels: Mapping[str, np.ndarray]
    positions: np.ndarray
    """Offsets within the occurrence's pieces."""
    blocks: tuple[str, ...] = ()
    """Of labels that are tokens."""


class PieceRow:
    """Pieces of one sequence under construction.

    Args:
        geometry: Adapter -> what it says about shapes.
        restart: Coordinates count from 0 in every run of tokens and every other segment, not on through the sequence.
    """

    def __init__(self, geometry: Mapping[str, Geometry], restart: bool = False) -> None:
        self.pieces: list[Piece] = []
        self._geometry, self._restart = geometry, restart
        self._start = self._total = 0

    def begin_run(self) -> None:
        """Tokens that follow are a run of their own."""
        if self._restart:
            self._start = 0

    def tokens(
        self,
        place: Placed,
        ids: np.ndarray,
        causal: bool,
        hidden: bool = False,
        coordinates: np.ndarray | None = None,
    ) -> int:
        """Append token positions.

        Args:
            place: Occurrence that they belong to.
            ids: int64 [n].
            causal: They see only earlier ones of these.
            hidden: As in `dense`.
            coordinates: int64 [n, 3], from where the run stands; None: running positions.

        Returns:
            Their offset within the occurrence.

        Raises:
            PluginError: Coordinates are no line, but the model tells places of these tokens on a line alone.
        """
        start, count = self._start, len(ids)
        if coordinates is None:
            end = start + count
            places = _DIAGONAL[start:end] if end <= _FAR else _diagonal(start, end)
        else:
            self._check_axes(place.slot, coordinates)
            places = coordinates.astype(np.int64) + start
            end = int(places.max(initial=start - 1)) + 1
        return self._add(place, {TOKEN_FEATURE: ids}, (count,), places, causal, hidden, end)

    def _check_axes(self, slot: SlotPlan, coordinates: np.ndarray) -> None:
        """Tables of learned positions look at one axis alone for adapters that say so."""
        known = self._geometry.get(slot.adapter)
        on_line = known is not None and getattr(known.adapter, "axes", 3) == 1
        if (
            self._restart
            and on_line
            and (coordinates != np.arange(len(coordinates))[:, None]).any()
        ):
            problem = f"its tokens have coordinates, but adapter '{slot.adapter}' says axes = 1"
            remedy = "name an adapter with a grid under uses, or set model.positions to rotary"
            raise PluginError(
                f"slot '{slot.name}': {problem}, and model.positions has a table for a line; {remedy}"
            )

    def dense(
        self,
        place: Placed,
        features: Mapping[str, np.ndarray],
        shape: tuple[int, ...],
        causal: bool,
        hidden: bool = False,
    ) -> int:
        """Append a dense segment.

        Args:
            place: Occurrence that it belongs to.
            features: For the adapter.
            shape: For the adapter's geometry.
            causal: Its positions see only earlier ones of it.
            hidden: Later pieces do not see it, and start where it starts.
        """
        name = place.slot.adapter
        if name not in self._geometry:
            raise KeyError(
                f"no geometry for adapter '{name}'; there are {', '.join(self._geometry)}"
            )
        self.begin_run()
        coordinates = self._geometry[name].coordinates(shape) + self._start
        end = int(coordinates.max()) + 1 if len(coordinates) else self._start
        return self._add(place, features, shape, coordinates, causal, hidden, end)

    def _add(
        self,
        place: Placed,
        features: Mapping[str, np.ndarray],
        shape: tuple[int, ...],
        coordinates: np.ndarray,
        causal: bool,
        hidden: bool,
        end: int,
    ) -> int:
        slot, pieces, offset, count = place.slot, self.pieces, place.length, len(coordinates)
        place.pieces += (len(pieces),)
        pieces.append(Piece(slot, slot.adapter, features, shape, coordinates, causal, not hidden))
        if not hidden:
            self._start = end
        place.length = offset + count
        self._total += count
        return offset

    def finished(self, limit: int) -> tuple[Piece, ...]:
        """All pieces.

        Raises:
            RowError: There are more positions than the model takes.
        """
        if self._total > limit and not self._restart:
            lengths = ", ".join(f"{_title(piece.slot)} {piece.length}" for piece in self.pieces)
            longest = max(self.pieces, key=lambda piece: piece.length).slot
            remedy = f"set max_length on {_title(longest)}, or raise model.max_positions"
            raise RowError(
                f"{self._total} positions on the {longest.side} side, but the model takes {limit} ({lengths}); {remedy}"
            )
        if self._restart:
            self._check_tokens(limit)
        return tuple(self.pieces)

    def _check_tokens(self, limit: int) -> None:
        for piece in self.pieces:
            last = int(piece.coordinates.max(initial=-1))
            if TOKEN_FEATURE in piece.features and last >= limit:
                title = _title(piece.slot)
                problem = (
                    f"{title} ends at position {last + 1} of its run, but the model takes {limit}"
                )
                raise RowError(f"{problem}; set max_length on it")


def _title(slot: SlotPlan) -> str:
    return f"[{slot.type}:{slot.name}]" if slot.plain is None else f'"{slot.plain}"'
