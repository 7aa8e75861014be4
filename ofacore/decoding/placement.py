"""Where the next positions of a decode session stand, while a segment with coordinates of its own is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ofacore.encoding.pieces import in_run
from ofacore.parallel.host_transfer import to_device

_FIELDS = ("coordinates", "count", "behind", "used", "origin")


@dataclass
class Placement:
    """Coordinates of one segment for each of R rows, and how many of them are used up."""

    coordinates: Tensor
    """int64 [R, P, 3], from where the run stands."""
    count: Tensor
    """int64 [R]: how many of the P each row has."""
    behind: Tensor
    """int64 [R]: where positions behind them go on."""
    used: Tensor
    """int64 [R]: positions appended so far."""
    before: int
    """Of those, how many a run begins with: they stand in front of the segment."""
    origin: Tensor | None = None
    """int64 [R]: running position of the first of them; None: there is none yet."""

    @classmethod
    def of(
        cls, coordinates: Sequence[np.ndarray | None], before: int, device: torch.device
    ) -> Placement:
        """For rows with coordinates int64 [n, 3], or None for running positions."""
        nothing = np.zeros((0, 3), np.int64)
        given = [nothing if own is None else own for own in coordinates]
        rows = [in_run(own, before, 0) for own in given]
        counts = np.array([len(row) for row in rows], np.int64)
        padded = np.zeros((len(rows), max(counts.max(initial=0), 1), 3), np.int64)
        for row, own in enumerate(rows):
            padded[row, : len(own)] = own
        ends = np.array([own.max(initial=-1) + 1 for own in rows], np.int64)
        held, count, behind = (
            to_device(torch.from_numpy(array), device) for array in (padded, counts, ends)
        )
        return cls(held, count, behind, torch.zeros_like(count), before)

    def next(self, n: int, running: Tensor) -> Tensor:
        """Coordinates int64 [R, n, 3] of the next n positions of each row; ``running`` int64 [R] is where they are."""
        if self.origin is None:
            self.origin = running
        number = self.used[:, None] + torch.arange(n, device=running.device)
        chosen = number.clamp(max=self.coordinates.shape[1] - 1)[..., None].expand(-1, -1, 3)
        own = self.coordinates.gather(1, chosen)
        further = (self.behind[:, None] + number - self.count[:, None])[..., None].expand(-1, -1, 3)
        inside = (number < self.count[:, None])[..., None]
        return torch.where(inside, own, further) + self.origin[:, None, None]

    def advance(self, places: Tensor, counts: Tensor, running: Tensor) -> Tensor:
        """Use up the first ``counts`` int64 [R] of what `next` gave; returns the running positions int64 [R] then."""
        self.used = self.used + counts
        real = torch.arange(places.shape[1], device=places.device) < counts[:, None]
        last = places.amax(-1).masked_fill(~real, -1).amax(1)
        return torch.maximum(running, last + 1)

    def whole(self, usual: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The coordinates of all positions of each row at once, or what is ``usual`` for a row that has none.

        Raises:
            ValueError: A row has another number of them than of positions.
        """
        found = []
        held, counts = self.coordinates.cpu().numpy(), self.count.tolist()
        for row, (places, count) in enumerate(zip(usual, counts, strict=True)):
            own = held[row, self.before : count] - self.before
            if len(own) not in (0, len(places)):
                problem = (
                    f"row {row} has coordinates for {len(own)} tokens, but {len(places)} positions"
                )
                raise ValueError(f"{problem}: what expect and the generator say differs")
            chosen = own if len(own) else places
            found.append(chosen)
        return found

    def reordered(self, rows: Tensor) -> Placement:
        """For rows by index int64 [R']."""
        held = {name: getattr(self, name) for name in _FIELDS}
        return replace(
            self, **{name: value[rows] for name, value in held.items() if value is not None}
        )
