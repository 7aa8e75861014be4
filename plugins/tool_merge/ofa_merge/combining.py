"""Tensors of all runs to tensors of one model, name by name: one tensor of each run is in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from torch import Tensor

from ofa_merge.method import Method, Shared
from ofa_merge.methods import mean
from ofa_merge.opened import OpenedRun

WeightsOf = Callable[[str], Sequence[float]]
"""Name of a tensor -> the weight of every run there."""
_STATISTICS = (".running_mean", ".running_var")
"""Buffers that hold means over data, which no sum of differences gives."""


def part_of(name: str) -> str:
    """The part of a model that a tensor belongs to: up to its layer's number, else two steps down its name."""
    steps = name.split(".")
    number = next((place for place, step in enumerate(steps) if step.isdigit()), 1)
    if steps[0] == "embedding":
        return "embedding"
    return ".".join(steps[: number + 1]) if len(steps) > 2 else steps[0].partition("/")[0]


class Combination:
    """The merged tensors of some runs.

    Args:
        runs: Alike, as `check_alike` has it.
        method: How tensors are merged that several runs have.
        options: Of the method, all of them.
        ancestor: What the runs began with; None where the method asks for none.
    """

    def __init__(
        self,
        runs: Sequence[OpenedRun],
        method: Method,
        options: Mapping[str, Any],
        ancestor: Mapping[str, Tensor] | None,
    ) -> None:
        self.runs, self.method, self.options, self.ancestor = runs, method, options, ancestor
        self.owners: dict[str, list[int]] = {}
        """Name -> numbers of the runs that have it."""
        for number, run in enumerate(runs):
            for name in run.weights:
                self.owners.setdefault(name, []).append(number)

    @property
    def shared(self) -> list[str]:
        """Names of tensors that are merged: several runs have them, or the only one that there is."""
        least = min(2, len(self.runs))
        return [name for name, owners in self.owners.items() if len(owners) >= least]

    def all(self, weights: WeightsOf) -> dict[str, Tensor]:
        """Name -> tensor of the merged model."""
        return {name: self.tensor(name, weights) for name in self.owners}

    def tensor(self, name: str, weights: WeightsOf) -> Tensor:
        """One tensor of the merged model; what one run alone has is taken from it."""
        owners = self.owners[name]
        first = self.runs[owners[0]].weights[name]
        alone = len(owners) < min(2, len(self.runs))
        if alone or not first.is_floating_point():
            return first
        values = [first, *(self.runs[number].weights[name] for number in owners[1:])]
        own = [weights(name)[number] for number in owners]
        if not any(own) and not self.method.from_ancestor:
            own = [1.0] * len(own)
        if name.endswith(_STATISTICS):
            shares = [1.0] * len(own) if self.method.from_ancestor else own
            return mean.merge(Shared(name, values, shares, owners))
        base = None if self.ancestor is None else self.ancestor[name]
        shared = Shared(name, values, own, owners, self.options, base, self._prepared)
        return self.method.merge(shared)

    def vectors(self, number: int) -> Iterator[Tensor]:
        """What training added to a run, of every tensor that is merged."""
        return (vector for _, vector in self.named_vectors(number))

    def named_vectors(self, number: int) -> Iterator[tuple[str, Tensor]]:
        """The same with names."""
        assert self.ancestor is not None
        for name in self.shared:
            if number in self.owners[name] and not name.endswith(_STATISTICS):
                value = self.runs[number].weights[name]
                if value.is_floating_point():
                    yield name, value - self.ancestor[name]

    @cached_property
    def _prepared(self) -> Sequence[Any]:
        if self.method.prepare is None:
            return ()
        return self.method.prepare(self.vectors, len(self.runs), self.options)
