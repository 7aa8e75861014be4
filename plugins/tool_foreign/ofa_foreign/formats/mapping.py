"""How tensors of another project become ours, and back, without a number changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

Shape = tuple[int, ...]
Tensors = Mapping[str, Tensor]


class Entry(Protocol):
    """One of our tensors and what it is made of."""

    @property
    def ours(self) -> str:
        """Portable name."""

    @property
    def theirs(self) -> tuple[str, ...]:
        """Names in the other project's state."""

    def shapes(self, ours: Shape) -> dict[str, Shape]:
        """Shapes that their tensors must have for ours to have that shape."""

    def take(self, tensors: Tensors) -> Tensor:
        """Our tensor, from theirs."""

    def give(self, value: Tensor, kept: Tensors) -> dict[str, Tensor]:
        """Their tensors, from ours and what `kept` set aside."""

    def kept(self, tensors: Tensors) -> dict[str, Tensor]:
        """Parts of their tensors that ours do not hold, needed to write them back."""


@dataclass(frozen=True)
class Same:
    """The same tensor under another name."""

    ours: str
    name: str

    @property
    def theirs(self) -> tuple[str, ...]:
        return (self.name,)

    def shapes(self, ours: Shape) -> dict[str, Shape]:
        return {self.name: ours}

    def take(self, tensors: Tensors) -> Tensor:
        return tensors[self.name]

    def give(self, value: Tensor, kept: Tensors) -> dict[str, Tensor]:
        return {self.name: value}

    def kept(self, tensors: Tensors) -> dict[str, Tensor]:
        return {}


@dataclass(frozen=True)
class Heads:
    """Projections of attention that we keep as one: rows go head by head, of each head queries, keys, values."""

    ours: str
    theirs: tuple[str, ...]
    heads: int

    def shapes(self, ours: Shape) -> dict[str, Shape]:
        return {name: (ours[0] // len(self.theirs), *ours[1:]) for name in self.theirs}

    def take(self, tensors: Tensors) -> Tensor:
        parts = [tensors[name].unflatten(0, (self.heads, -1)) for name in self.theirs]
        return torch.stack(parts, dim=1).flatten(0, 2)

    def give(self, value: Tensor, kept: Tensors) -> dict[str, Tensor]:
        parts = value.unflatten(0, (self.heads, len(self.theirs), -1)).unbind(1)
        return {name: part.flatten(0, 1) for name, part in zip(self.theirs, parts, strict=True)}

    def kept(self, tensors: Tensors) -> dict[str, Tensor]:
        return {}


@dataclass(frozen=True)
class Rolled:
    """The first ``skipped`` rows, which nothing reads, stand last in ours."""

    ours: str
    name: str
    skipped: int

    @property
    def theirs(self) -> tuple[str, ...]:
        return (self.name,)

    def shapes(self, ours: Shape) -> dict[str, Shape]:
        return {self.name: ours}

    def take(self, tensors: Tensors) -> Tensor:
        return tensors[self.name].roll(-self.skipped, 0)

    def give(self, value: Tensor, kept: Tensors) -> dict[str, Tensor]:
        return {self.name: value.roll(self.skipped, 0)}

    def kept(self, tensors: Tensors) -> dict[str, Tensor]:
        return {}


@dataclass(frozen=True)
class Ahead:
    """The same rows behind ``added`` rows of zeros that nothing reads."""

    ours: str
    name: str
    added: int

    @property
    def theirs(self) -> tuple[str, ...]:
        return (self.name,)

    def shapes(self, ours: Shape) -> dict[str, Shape]:
        return {self.name: (ours[0] - self.added, *ours[1:])}

    def take(self, tensors: Tensors) -> Tensor:
        rows = tensors[self.name]
        return torch.cat([rows.new_zeros(self.added, *rows.shape[1:]), rows])

    def give(self, value: Tensor, kept: Tensors) -> dict[str, Tensor]:
        return {self.name: value[self.added :]}

    def kept(self, tensors: Tensors) -> dict[str, Tensor]:
        return {}


@dataclass(frozen=True)
class Reshaped:
    """A vector that the other project keeps in the shape ``layout``, where -1 stands for its size."""

    ours: str
    name: str
    layout: Shape

    @property
    def theirs(self) -> tuple[str, ...]:
        return (self.name,)

    def shapes(self, ours: Shape) -> dict[str, Shape]:
        return {self.name: tuple(ours[0] if size == -1 else size for size in self.layout)}

    def take(self, tensors: Tensors) -> Tensor:
        return tensors[self.name].flatten()

    def give(self, value: Tensor, kept: Tensors) -> dict[str, Tensor]:
        return {self.name: value.reshape(self.layout)}

    def kept(self, tensors: Tensors) -> dict[str, Tensor]:
        return {}


@dataclass(frozen=True)
class Findings:
    """What does not fit.

    Attributes:
        missing: Their names that a tensor of ours is made of and that are not there.
        unexpected: Names that are there and that nothing is made of.
        shapes: Name -> (shape found, shape expected).
        aside: Names that are there for something whole that is not used.
    """

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    shapes: Mapping[str, tuple[Shape, Shape]] = field(default_factory=dict)
    aside: tuple[str, ...] = ()

    def lines(self, allowed: Callable[[str], bool] = lambda name: False) -> list[str]:
        """One line for each finding that is not allowed, in words."""
        found = [f"missing: {name}" for name in self.missing if not allowed(name)]
        found += [f"unexpected: {name}" for name in self.unexpected if not allowed(name)]
        for name, (there, wanted) in self.shapes.items():
            if not allowed(name):
                found.append(f"wrong shape: {name}: found {list(there)}, expected {list(wanted)}")
        return found


def compare(
    entries: Iterable[Entry], ours: Mapping[str, Shape], theirs: Mapping[str, Shape]
) -> Findings:
    """Names and shapes of another project's tensors against those that ours need.

    Args:
        entries: How ours are made.
        ours: Portable name -> shape, of all that shall be filled.
        theirs: Name -> shape, of all that is there and not spoken for otherwise.
    """
    wanted: dict[str, Shape] = {}
    for entry in entries:
        if entry.ours in ours:
            wanted |= entry.shapes(ours[entry.ours])
    return Findings(
        tuple(sorted(set(wanted) - set(theirs))),
        tuple(sorted(set(theirs) - set(wanted))),
        {
            n: (theirs[n], shape)
            for n, shape in sorted(wanted.items())
            if n in theirs and theirs[n] != shape
        },
    )


def taken(
    entries: Sequence[Entry], tensors: Tensors, initial: Tensors
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Our tensors that can be made of those that are there, and what must be kept to write theirs back.

    Args:
        entries: How ours are made.
        tensors: Theirs.
        initial: Ours, with initial values: where some of several are missing, these parts stand in for them.
    """
    ours: dict[str, Tensor] = {}
    kept: dict[str, Tensor] = {}
    for entry in entries:
        there = {name: tensors[name] for name in entry.theirs if name in tensors}
        if not there:
            continue
        if len(there) < len(entry.theirs):
            there = {**entry.give(initial[entry.ours], {}), **there}
        ours[entry.ours] = entry.take(there)
        kept |= entry.kept(there)
    return ours, kept


def given(entries: Sequence[Entry], ours: Tensors, kept: Tensors) -> dict[str, Tensor]:
    """Their tensors, made of ours."""
    theirs: dict[str, Tensor] = {}
    for entry in entries:
        if entry.ours in ours:
            theirs |= entry.give(ours[entry.ours], kept)
    return theirs
