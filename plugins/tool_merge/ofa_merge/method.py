"""What a method of merging is: a function of one tensor that several runs have, and what it asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ofacore.plugin import Option

Vectors = Callable[[int], Iterable[Tensor]]
"""Number of a run -> what training added to it, tensor by tensor; may be gone through again."""


@dataclass(frozen=True)
class Shared:
    """One tensor in the runs that have it."""

    name: str
    values: Sequence[Tensor]
    """fp32, of one shape, one for each of ``runs``."""
    weights: Sequence[float]
    runs: Sequence[int]
    """Numbers of these runs among all that are merged."""
    options: Mapping[str, Any] = field(default_factory=dict)
    base: Tensor | None = None
    """What the runs began with; None where nobody knows."""
    prepared: Sequence[Any] = ()
    """What the method's ``prepare`` found for each run that is merged."""

    @cached_property
    def vectors(self) -> list[Tensor]:
        """Task vectors: what training added in each run (Ilharco et al. 2023)."""
        assert self.base is not None
        return [value - self.base for value in self.values]

    def moved(self, by: Tensor) -> Tensor:
        """The ancestor's tensor, moved."""
        assert self.base is not None
        return self.base + by


@dataclass(frozen=True)
class Method:
    """A way to merge."""

    name: str
    doc: str
    source: str
    """Paper."""
    merge: Callable[[Shared], Tensor]
    from_ancestor: bool = True
    """It works on task vectors, so it asks for a common ancestor; otherwise on the weights themselves."""
    weight: float | None = None
    """Weight of a run where none is given; None: all runs together weigh one."""
    options: Mapping[str, Option] = field(default_factory=dict)
    most_runs: int = 0
    """Runs that it can merge at once; 0: any number."""
    prepare: Callable[[Vectors, int, Mapping[str, Any]], Sequence[Any]] | None = None
    """(task vectors, number of runs, options) -> what `merge` needs to know of each whole run."""
    check: Callable[[Mapping[str, Any]], str] = lambda options: ""
    """What is wrong with options that fit one by one; empty: nothing."""
    learns: bool = False
    """Its weights are learned; those that are given are where it begins."""

    def default_weights(self, runs: int) -> tuple[float, ...]:
        """Of so many runs."""
        return (1 / runs if self.weight is None else self.weight,) * runs


def weighted_sum(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The sum of tensors of one shape, each times its weight."""
    total = torch.zeros_like(tensors[0])
    for tensor, weight in zip(tensors, weights, strict=True):
        total.add_(tensor, alpha=weight)
    return total
