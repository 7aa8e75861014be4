"""What rows hold while a target is generated: the layers' own cache as long as rows go in step.

Rows that are finished go on in step with the others; what they take in then is never looked at. Rows that grow on
behind that, rows that grow by different numbers of positions, and segments that see themselves, have no place in a
cache that counts its places alike for all rows. From there on `ofacore.parts.UncachedDecoder` answers, which is exact:
what came before is kept beside the cache, as embedded positions.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ofacore.protocols import DecodeCache


@dataclass
class Held:
    """Positions of one segment and adapter, of all rows."""

    adapter: str
    states: Tensor
    """[R, n, H]."""
    coordinates: Tensor
    """int64 [R, n, 3]."""
    valid: Tensor
    """bool [R, n]: the position is one of the row's; those of finished rows are not."""

    def chosen(self, rows: Tensor) -> Held:
        """The same of rows by index int64 [R']."""
        return Held(self.adapter, self.states[rows], self.coordinates[rows], self.valid[rows])

    def followed_by(self, other: Held) -> Held:
        """With positions of the same adapter behind them."""
        return Held(
            self.adapter,
            torch.cat([self.states, other.states], dim=1),
            torch.cat([self.coordinates, other.coordinates], dim=1),
            torch.cat([self.valid, other.valid], dim=1),
        )


def _chosen(segment: list[Held], rows: Tensor) -> list[Held]:
    return [held.chosen(rows) for held in segment]


@dataclass
class StepCache:
    """See `ofacore.protocols.DecodeCache`."""

    origin: Tensor
    """int64 [R]: the row of the beginning, and so the source, of each row."""
    begin: Callable[[], DecodeCache]
    """Makes an empty cache of the uncached way for the rows of the beginning."""
    own: Any = None
    """What the layers keep, for `reorder` and `fork` of its own; None: the uncached way answers."""
    plain: Any = None
    """The uncached way, once it was needed."""
    task: str = ""
    """Of all rows; empty: unknown."""
    segments: list[list[Held]] = field(default_factory=lambda: [[]])
    finished: Tensor | None = None
    """bool [R]: rows that a step has left out; None: there is none."""

    def in_step(self, valid: Tensor | None) -> bool:
        """Whether rows still go in step after positions of which bool [R, n] are theirs, None: all of them."""
        if self.own is None:
            return False
        if valid is None:
            return self.finished is None
        left = ~valid.any(1)
        whole = valid.all(1) | left
        again = left.new_zeros(()) if self.finished is None else (self.finished & ~left).any()
        return bool(whole.all() & ~again)

    @property
    def rows(self) -> int:
        """Number of rows R."""
        return len(self.origin)

    @property
    def length(self) -> int:
        """Positions of the longest row."""
        if self.plain is not None:
            return int(self.plain.length)
        return sum(held.states.shape[1] for segment in self.segments for held in segment)

    def begin_segment(self) -> None:
        """What follows belongs to a segment of its own."""
        if self.plain is not None:
            self.plain.begin_segment()
        else:
            self.segments.append([])

    def reorder(self, rows: Tensor) -> None:
        """Keep rows by index int64 [R']; an index may occur several times or not at all."""
        rows = rows.to(self.origin.device)
        same = len(rows) == self.rows and bool(
            (rows == torch.arange(len(rows), device=rows.device)).all()
        )
        if same:
            return
        self.origin = self.origin[rows]
        if self.plain is not None:
            self.plain.reorder(rows)
            return
        if self.own is not None:
            self.own = self.own.reordered(rows)
        if self.finished is not None:
            self.finished = self.finished[rows]
        self.segments = [_chosen(segment, rows) for segment in self.segments]

    def fork(self) -> StepCache:
        """An independent cache in the same state."""
        twin = copy(self)
        twin.segments = [list(segment) for segment in self.segments]
        twin.plain = None if self.plain is None else self.plain.fork()
        twin.own = None if self.own is None else self.own.copied()
        return twin

    def note(self, adapter: str, states: Tensor, coordinates: Tensor, valid: Tensor | None) -> None:
        """Positions of all rows joined what came before."""
        if valid is None:
            valid = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        elif not bool(valid.all()):
            self.finished = ~valid.any(1)
        held, segment = Held(adapter, states, coordinates, valid), self.segments[-1]
        if segment and segment[-1].adapter == adapter:
            segment[-1] = segment[-1].followed_by(held)
        else:
            segment.append(held)

    def uncached(self, extend: Callable[..., Tensor]) -> Any:
        """The uncached way with all that came before, apart from this cache."""
        found = self.begin()
        found.reorder(self.origin)
        for number, segment in enumerate(self.segments):
            if number:
                found.begin_segment()
            for held in segment:
                extend(held.states, held.coordinates, found, held.valid, held.adapter)
        return found
