"""Task vectors, listed and compared: how far each part moved, whether runs moved alike, and where they disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import sqrt
from pathlib import Path
from typing import Any

from torch import Tensor

from ofa_merge.agreement import check_alike
from ofa_merge.ancestor import find_ancestor
from ofa_merge.combining import Combination, part_of
from ofa_merge.methods import METHODS
from ofa_merge.opened import open_run
from ofa_merge.union import union

WHOLE = "all of it"


@dataclass
class _Sums:
    """Sums over the tensors of one part."""

    base: float = 0.0
    squares: dict[int, float] = field(default_factory=dict)
    products: dict[tuple[int, int], float] = field(default_factory=dict)
    lengths: dict[tuple[int, int], list[float]] = field(default_factory=dict)
    """Of two runs: squares of both, over the tensors that both have."""
    moved: dict[tuple[int, int], int] = field(default_factory=dict)
    """Numbers that both runs moved."""
    against: dict[tuple[int, int], int] = field(default_factory=dict)
    """Of these, those that they moved in opposite directions."""

    def add(self, base: Tensor, vectors: Mapping[int, Tensor]) -> None:
        self.base += float(base.double().square().sum())
        for run, vector in vectors.items():
            own = float(vector.double().square().sum())
            self.squares[run] = self.squares.get(run, 0.0) + own
        for pair in combinations(vectors, 2):
            one, other = vectors[pair[0]].double(), vectors[pair[1]].double()
            product = one * other
            self.products[pair] = self.products.get(pair, 0.0) + float(product.sum())
            both = self.lengths.setdefault(pair, [0.0, 0.0])
            both[0] += float(one.square().sum())
            both[1] += float(other.square().sum())
            self.moved[pair] = self.moved.get(pair, 0) + int(((one != 0) & (other != 0)).sum())
            self.against[pair] = self.against.get(pair, 0) + int(
                (one.sign() * other.sign() < 0).sum()
            )


@dataclass(frozen=True)
class PartRow:
    """One part of the model, and last of all the whole."""

    part: str
    base: float
    """Norm of what the runs began with."""
    norms: Mapping[str, float]
    """Run -> norm of its task vector there."""
    cosines: Mapping[tuple[str, str], float]
    """Two runs -> cosine of their task vectors there; of a vector of length zero there is none."""
    conflicts: Mapping[tuple[str, str], float]
    """Two runs -> share of opposite signs, of the numbers that both moved."""

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "part": self.part,
            "base": self.base,
            "norms": dict(self.norms),
            "cosines": [[*pair, value] for pair, value in self.cosines.items()],
            "conflicts": [[*pair, value] for pair, value in self.conflicts.items()],
        }


@dataclass(frozen=True)
class VectorList:
    """Task vectors of some runs."""

    ancestor: str
    runs: tuple[str, ...]
    rows: tuple[PartRow, ...]


def list_vectors(
    runs: Sequence[str | Path], base: str | Path | None = None, which: str = "latest"
) -> VectorList:
    """Compare what training added in each run, over the tensors that it shares with the ancestor.

    Args:
        runs: Run folders or saved models.
        base: What they began with; default: what they say.
        which: Of run folders: ``latest`` or ``best``.

    Raises:
        UserError: Runs differ in size, tokens or options, or have no common ancestor.
    """
    opened = [open_run(Path(run), which) for run in runs]
    check_alike(opened)
    merged = union(opened, "merged")
    said = None if base is None else Path(base)
    ancestor = find_ancestor(opened, merged, said)
    combination = Combination(opened, METHODS["task-arithmetic"], {}, ancestor)
    parts: dict[str, _Sums] = {}
    for name in combination.shared:
        start = ancestor[name]
        if not start.is_floating_point():
            continue
        vectors = {run: opened[run].weights[name] - start for run in combination.owners[name]}
        for part in (part_of(name), WHOLE):
            parts.setdefault(part, _Sums()).add(start, vectors)
    names = tuple(run.name for run in opened)
    whole = parts.pop(WHOLE, _Sums())
    rows = [_row(part, sums, names) for part, sums in [*parts.items(), (WHOLE, whole)]]
    return VectorList(ancestor.told, names, tuple(rows))


def _row(part: str, sums: _Sums, names: Sequence[str]) -> PartRow:
    cosines, conflicts = {}, {}
    for pair, product in sums.products.items():
        lengths = sqrt(sums.lengths[pair][0] * sums.lengths[pair][1])
        told = (names[pair[0]], names[pair[1]])
        if lengths:
            cosines[told] = product / lengths
        if sums.moved[pair]:
            conflicts[told] = sums.against[pair] / sums.moved[pair]
    norms = {names[run]: sqrt(value) for run, value in sums.squares.items()}
    return PartRow(part, sqrt(sums.base), norms, cosines, conflicts)
