"""From per-item losses to one scalar: weigh, divide by the counts of the whole step, sum.

``total = sum over items of weight * loss_weight(task) * value / count(term)``. As the counts are those of the step, the
gradient does not depend on how the samples are split into micro-batches.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from ofacore.parallel.host_transfer import numbers_on
from ofacore.protocols import Batch, Loss, SampleInfo, TermGroup

Totals = dict[str, Tensor]
"""What is summed, as scalars with a gradient: one under ``""``, or one for each task (see `Scale.by_task`)."""


@dataclass(frozen=True)
class Scale:
    """What turns a value into its share of the total."""

    counts: Mapping[str, int]
    """Term -> units in the whole step. Terms that the model adds itself (router losses) may be absent."""
    samples: int
    """Samples in the whole step: the divisor of absent terms."""
    loss_weights: Mapping[str, float] = field(default_factory=dict)
    """Task -> factor; 1 where absent."""
    by_task: bool = False
    """Totals are kept apart by task; ``""`` is then what belongs to none."""

    def totals(self, weighed: Tensor, samples: Sequence[SampleInfo]) -> Totals:
        """Totals of weighed items [items], each of the sample of the same place."""
        if not self.by_task:
            return {"": weighed.sum()}
        places: dict[str, list[int]] = {}
        for place, sample in enumerate(samples):
            places.setdefault(sample.task, []).append(place)
        return {task: weighed[places[task]].sum() for task in sorted(places)}

    def factors(self, group: TermGroup, samples: Sequence[SampleInfo]) -> list[float]:
        """One factor for each item of a group."""
        return [
            weight
            * self.loss_weights.get(samples[sample].task, 1.0)
            / max(1, self.counts.get(term, self.samples))
            for weight, sample, term in zip(group.weights, group.samples, group.terms, strict=True)
        ]


@dataclass
class TermSums:
    """Sums for the report of a step, over items with finite losses."""

    values: dict[str, float] = field(default_factory=dict)
    units: dict[str, int] = field(default_factory=dict)
    """Units that means are taken over; see `Loss.units`."""
    parts: dict[str, float] = field(default_factory=dict)

    def add(self, group: TermGroup, loss: Loss, good: Sequence[bool]) -> None:
        """Add the items of a group for which ``good`` holds."""
        parts = {name: part.detach().tolist() for name, part in loss.parts.items()}
        units = group.counts if loss.units is None else loss.units.tolist()
        self.add_read(group, loss.values.detach().tolist(), parts, good, units)

    def add_read(
        self,
        group: TermGroup,
        values: Sequence[float],
        parts: Mapping[str, Sequence[float]],
        good: Sequence[bool],
        units: Sequence[float],
    ) -> None:
        """The same with the numbers of a loss."""
        for item, value in enumerate(values):
            if good[item]:
                term = group.terms[item]
                self.values[term] = self.values.get(term, 0.0) + value
                self.units[term] = self.units.get(term, 0) + int(units[item])
        for name, part in parts.items():
            for item, value in enumerate(part):
                if good[item]:
                    key = f"{group.terms[item]}/{name}"
                    self.parts[key] = self.parts.get(key, 0.0) + value

    def merge(self, other: TermSums) -> None:
        """Add the sums of another micro-batch."""
        for mine, theirs in ((self.values, other.values), (self.parts, other.parts)):
            for key, value in theirs.items():
                mine[key] = mine.get(key, 0.0) + value
        for term, units in other.units.items():
            self.units[term] = self.units.get(term, 0) + units

    def report(self, split: str = "train") -> dict[str, float]:
        """``split/task/slot...`` -> mean over counted units; parts likewise, below their term."""
        means = {
            f"{split}/{term}": value / max(1, self.units[term])
            for term, value in self.values.items()
        }
        for key, value in self.parts.items():
            means[f"{split}/{key}"] = value / max(1, self.units[key.rpartition("/")[0]])
        return means


@dataclass
class Unread:
    """Losses of a pass over a step, left where they are until all are read at once: every read is a wait."""

    noted: list[tuple[list[tuple[TermGroup, Loss]], bool]] = field(default_factory=list)
    """Losses of one micro-batch each, and whether they count for the report of this process."""

    def weigh(
        self,
        losses: Iterable[tuple[TermGroup, Loss]],
        batch: Batch,
        scale: Scale,
        report: bool = True,
    ) -> Totals:
        """The sum of all items, taken to be finite; at least one group."""
        held, totals = [], []
        for group, loss in losses:
            held.append((group, loss))
            weighed = loss.values * _factors(group, loss, batch, scale)
            totals.append(
                scale.totals(weighed, [batch.samples[sample] for sample in group.samples])
            )
        self.note(held, report)
        return joined(totals)

    def note(self, losses: Sequence[tuple[TermGroup, Loss]], report: bool = True) -> None:
        """Keep the numbers of losses to be read, without their graphs."""
        found = [(group, _detached(loss)) for group, loss in losses]
        self.noted.append((found, report))

    def read(self) -> TermSums | None:
        """Sums of all that was noted; None where an item is not finite."""
        losses = [loss for held, _ in self.noted for _, loss in held]
        tensors = [tensor for loss in losses for tensor in _tensors(loss)]
        read = torch.cat(tensors).tolist() if tensors else []
        numbers = iter(read)
        sums = TermSums()
        for held, report in self.noted:
            own = TermSums()
            for group, loss in held:
                values = list(islice(numbers, len(loss.values)))
                parts = {
                    name: list(islice(numbers, len(part))) for name, part in loss.parts.items()
                }
                units = group.counts if loss.units is None else list(islice(numbers, len(values)))
                if not all(map(math.isfinite, values)):
                    return None
                own.add_read(group, values, parts, [True] * len(values), units)
            if report:
                sums.merge(own)
        return sums


def _tensors(loss: Loss) -> list[Tensor]:
    """Everything that is read of a loss, in the order in which it is."""
    units = [] if loss.units is None else [loss.units]
    return [loss.values, *loss.parts.values(), *units]


def _detached(loss: Loss) -> Loss:
    parts = {name: part.detach() for name, part in loss.parts.items()}
    return Loss(loss.values.detach(), parts, loss.units)


def _factors(group: TermGroup, loss: Loss, batch: Batch, scale: Scale) -> Tensor:
    return numbers_on(scale.factors(group, batch.samples), loss.values.device, torch.float32)


@dataclass(frozen=True)
class Weighed:
    """Result of `weigh` for one micro-batch."""

    total: Totals
    """Empty without a single finite item."""
    sums: TermSums
    bad: tuple[int, ...]
    """Indices into ``batch.samples`` of samples with a loss that is not finite."""


def weigh(losses: Iterable[tuple[TermGroup, Loss]], batch: Batch, scale: Scale) -> Weighed:
    """Sum the finite items; samples with a non-finite one are named and left out."""
    totals: list[Totals] = []
    sums = TermSums()
    bad: set[int] = set()
    for group, loss in losses:
        good = loss.values.detach().isfinite()
        factors = _factors(group, loss, batch, scale)
        kept = good.tolist()
        bad.update(sample for sample, fine in zip(group.samples, kept, strict=True) if not fine)
        sums.add(group, loss, kept)
        if any(kept):
            values = loss.values if all(kept) else loss.values[good]
            weighed = values * (factors if all(kept) else factors[good])
            whose = [
                batch.samples[sample]
                for sample, fine in zip(group.samples, kept, strict=True)
                if fine
            ]
            totals.append(scale.totals(weighed, whose))
    return Weighed(joined(totals), sums, tuple(sorted(bad)))


def joined(totals: Sequence[Totals]) -> Totals:
    """Totals of several parts together."""
    tasks = dict.fromkeys(task for each in totals for task in each)
    sums = {}
    for task in tasks:
        parts = [each[task] for each in totals if task in each]
        sums[task] = torch.stack(parts).sum()
    return sums


def backward(totals: Totals, inputs: Sequence[Tensor] | None = None) -> Iterator[str]:
    """The one place where gradients come from: each total's backward pass in turn, in the order of their names.

    A total that no trained parameter has a part in is left out. Yields the name of each other one when its gradient
    stands where autograd leaves it.
    """
    names = sorted(name for name, total in totals.items() if total.requires_grad)
    for name in names:
        totals[name].backward(inputs=inputs, retain_graph=name != names[-1])  # type: ignore[no-untyped-call]
        yield name
