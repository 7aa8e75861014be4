"""From per-item losses to one scalar: weigh, divide by the counts of the whole step, sum.

``total = sum over items of weight * loss_weight(task) * value / count(term)``. As the counts are those of the step, the
gradient does not depend on how the samples are split into micro-batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ofacore.protocols import Batch, Loss, SampleInfo, TermGroup


@dataclass(frozen=True)
class Scale:
    """What turns a value into its share of the total."""

    counts: Mapping[str, int]
    """Term -> units in the whole step. Terms that the model adds itself (router losses) may be absent."""
    samples: int
    """Samples in the whole step: the divisor of absent terms."""
    loss_weights: Mapping[str, float] = field(default_factory=dict)
    """Task -> factor; 1 where absent."""

    def factors(self, group: TermGroup, samples: Sequence[SampleInfo]) -> list[float]:
        """One factor for each item of a group."""
        return [
            weight * self.loss_weights.get(samples[sample].task, 1.0) / max(1, self.counts.get(term, self.samples))
            for weight, sample, term in zip(group.weights, group.samples, group.terms, strict=True)
        ]


@dataclass
class TermSums:
    """Sums for the report of a step, over items with finite losses."""

    values: dict[str, float] = field(default_factory=dict)
    units: dict[str, int] = field(default_factory=dict)
    parts: dict[str, float] = field(default_factory=dict)

    def add(self, group: TermGroup, loss: Loss, good: Sequence[bool]) -> None:
        """Add the items of a group for which ``good`` holds."""
        for item, value in enumerate(loss.values.detach().tolist()):
            if good[item]:
                term = group.terms[item]
                self.values[term] = self.values.get(term, 0.0) + value
                self.units[term] = self.units.get(term, 0) + group.counts[item]
        for name, part in loss.parts.items():
            for item, value in enumerate(part.detach().tolist()):
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
        means = {f"{split}/{term}": value / max(1, self.units[term]) for term, value in self.values.items()}
        for key, value in self.parts.items():
            means[f"{split}/{key}"] = value / max(1, self.units[key.rpartition("/")[0]])
        return means


@dataclass(frozen=True)
class Weighed:
    """Result of `weigh` for one micro-batch."""

    total: Tensor | None
    """Scalar with a gradient; None without a single finite item."""
    sums: TermSums
    bad: tuple[int, ...]
    """Indices into ``batch.samples`` of samples with a loss that is not finite."""


def weigh(losses: Iterable[tuple[TermGroup, Loss]], batch: Batch, scale: Scale) -> Weighed:
    """Sum the finite items; samples with a non-finite one are named and left out."""
    totals: list[Tensor] = []
    sums = TermSums()
    bad: set[int] = set()
    for group, loss in losses:
        good = loss.values.detach().isfinite()
        factors = torch.tensor(scale.factors(group, batch.samples), dtype=torch.float32, device=loss.values.device)
        kept = good.tolist()
        bad.update(sample for sample, fine in zip(group.samples, kept, strict=True) if not fine)
        sums.add(group, loss, kept)
        if any(kept):
            values = loss.values if all(kept) else loss.values[good]
            totals.append((values * (factors if all(kept) else factors[good])).sum())
    return Weighed(torch.stack(totals).sum() if totals else None, sums, tuple(sorted(bad)))
