"""The gradient of one step: all micro-batches forward and backward, with every fault traced and dealt with.

A fault restarts the step with other micro-batches: out of memory, with the one that did not fit in halves; a loss or
gradient that is not finite, with the guilty one in halves, until a single sample is left to drop: within a micro-batch,
what is not finite may spread from its sample to others of the same row. So what was accumulated before
a fault never stays, and the result is that of a step that had these micro-batches from the start.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ofacore.config.schema import FaultConfig
from ofacore.protocols import Batch, Loss, SampleInfo, TermGroup
from ofacore.train.errors import NonFiniteError, OutOfMemoryError
from ofacore.train.faults import Fault, FaultCounters
from ofacore.train.groups import without
from ofacore.train.interfaces import Divisible, StepData, TrainableModel
from ofacore.train.optimizer import RunOptimizer
from ofacore.train.step_scope import StepCache, StepGradients, is_step_wide, step_groups
from ofacore.train.terms import Scale, TermSums, weigh


class _DoesNotFit(Exception):
    """Out of memory on the micro-batch at ``place``."""

    def __init__(self, place: int) -> None:
        self.place = place
        super().__init__(place)


@dataclass
class Pass:
    """What one try over all micro-batches gave."""

    sums: TermSums = field(default_factory=TermSums)
    bad: list[SampleInfo] = field(default_factory=list)
    """Samples whose loss is not finite; they are left out of the total."""
    suspects: list[int] = field(default_factory=list)
    """Micro-batches with such samples beside others: what is not finite may have come from a neighbour in the row."""
    culprit: int | None = None
    """First micro-batch after which the gradient is not finite; only looked for where asked."""


@dataclass
class StepGradient:
    """The gradients stand in the optimiser's masters; this is what to report."""

    values: dict[str, float]
    norm: float
    faults: list[Fault]


@dataclass
class GradientPass:
    """Computes gradients of steps.

    Args:
        model: Gives losses.
        optimizer: Holds the gradients.
        policy: What to do about faults.
        counters: Counts them.
        seed: Of the run; dropout of every micro-batch is seeded by (seed, step, place).
        loss_weights: Task -> factor on its losses.
    """

    model: TrainableModel
    optimizer: RunOptimizer
    policy: FaultConfig
    counters: FaultCounters
    seed: int = 0
    loss_weights: dict[str, float] = field(default_factory=dict)

    def run(self, data: StepData) -> StepGradient:
        """Accumulate the gradients of one step.

        A step that is not `Divisible` loses a faulty micro-batch as a whole.

        Raises:
            NonFiniteError: Under ``train.faults.nan=raise``.
            OutOfMemoryError: One sample does not fit, or under ``train.faults.out_of_memory=raise``.
            FaultLimitError: Too many samples were left out.
        """
        batches = list(data.batches)
        scale = Scale(data.counts, sum(len(batch.samples) for batch in batches), self.loss_weights)
        faults: list[Fault] = []
        while True:
            try:
                done = self._pass(data.step, batches, scale)
                if done.suspects and isinstance(data, Divisible):
                    _cut(data, batches, done.suspects)
                    continue
                norm = float(self.optimizer.gradient_norm())
                if math.isfinite(norm):
                    faults += self._skipped(data.step, "nan", done.bad, "loss is not finite")
                    return StepGradient(done.sums.report(), norm, faults)
                culprit = self._pass(data.step, batches, scale, search=True).culprit
            except _DoesNotFit as fault:
                faults += self._halve_for_memory(data, batches, fault.place)
            else:
                faults += self._narrow(data, batches, len(batches) - 1 if culprit is None else culprit)

    def _pass(self, step: int, batches: Sequence[Batch], scale: Scale, search: bool = False) -> Pass:
        self.optimizer.zero_grad()
        done = Pass()
        shared = self._whole_step_losses(step, batches, scale, done)
        for place, batch in enumerate(batches):
            try:
                self._micro_batch(step, place, batch, scale, shared, done)
            except (MemoryError, RuntimeError) as error:
                _raise_unless_memory(error, place)
            if search and done.culprit is None and not math.isfinite(float(self.optimizer.gradient_norm())):
                done.culprit = place
        return done

    def _micro_batch(
        self, step: int, place: int, batch: Batch, scale: Scale, shared: StepGradients | None, done: Pass
    ) -> None:
        self._seed(step, place)
        hidden = self.model.hidden(batch)
        own = [group for group in batch.terms if shared is None or not is_step_wide(self.model, group)]
        weighed = weigh([(group, self._loss(group, hidden)) for group in own], batch, scale)
        done.bad += [batch.samples[sample] for sample in weighed.bad]
        if weighed.bad:
            done.suspects += [place] if len(batch.samples) > 1 else []
            weighed = weigh([(group, self._loss(group, hidden)) for group in without(own, weighed.bad)], batch, scale)
        done.sums.merge(weighed.sums)
        totals = [] if weighed.total is None else [weighed.total, *self._auxiliary(batch, hidden, scale, done)]
        if shared is not None:
            totals += shared.surrogates(self.model, batch, place, hidden)
        if totals:
            torch.stack(totals).sum().backward()  # type: ignore[no-untyped-call]

    def _auxiliary(self, batch: Batch, hidden: Any, scale: Scale, done: Pass) -> list[Tensor]:
        """What the model adds of its own; left out where it is not finite, for the samples' losses tell whose it is."""
        finite = [(group, loss) for group, loss in self.model.auxiliary(batch, hidden) if loss.values.isfinite().all()]
        for group, loss in finite:
            done.sums.add(group, loss, [True])
        return [loss.values.sum() * (group.weights[0] / max(1, scale.samples)) for group, loss in finite]

    def _loss(self, group: TermGroup, hidden: Any) -> Loss:
        return self.model.loss(group, self.model.predict(group, hidden), hidden)

    def _whole_step_losses(self, step: int, batches: Sequence[Batch], scale: Scale, done: Pass) -> StepGradients | None:
        if not any(step_groups(self.model, batch) for batch in batches):
            return None
        cache = StepCache(self.model)
        for place, batch in enumerate(batches):
            self._seed(step, place)
            try:
                cache.collect(batch, place)
            except (MemoryError, RuntimeError) as error:
                _raise_unless_memory(error, place)
        shared = cache.gradients(scale)
        if shared is not None:
            done.sums.merge(shared.sums)
            done.bad += [batches[place].samples[s] for place, samples in shared.bad.items() for s in samples]
        return shared

    def _seed(self, step: int, place: int) -> None:
        """Dropout depends on nothing that came before, so that a resumed run repeats it."""
        torch.manual_seed((self.seed * 1_000_003 + step) * 4099 + place)

    def _halve_for_memory(self, data: StepData, batches: list[Batch], place: int) -> list[Fault]:
        batch = batches[place]
        halves = _halves(data, batch) if self.policy.out_of_memory == "split" else [batch]
        if len(halves) < 2:
            self.optimizer.zero_grad()
            raise OutOfMemoryError(data.step, batch.samples, "lower train.micro_batch_positions or _samples")
        batches[place : place + 1] = halves
        return self.counters.note_memory(data.step, batch.samples)

    def _narrow(self, data: StepData, batches: list[Batch], place: int) -> list[Fault]:
        """Halve the guilty micro-batch, or drop it where it cannot be halved."""
        batch = batches[place]
        halves = _halves(data, batch)
        batches[place : place + 1] = halves if len(halves) > 1 else []
        return [] if len(halves) > 1 else self._skipped(data.step, "gradient", batch.samples, "gradient is not finite")

    def _skipped(self, step: int, kind: str, samples: Sequence[SampleInfo], reason: str) -> list[Fault]:
        if samples and self.policy.nan == "raise":
            self.optimizer.zero_grad()
            what = "the loss" if kind == "nan" else "the gradient"
            raise NonFiniteError(step, samples, what, "look at these rows, or set train.faults.nan=skip")
        return self.counters.note_skipped(step, kind, samples, reason)


def _cut(data: Divisible, batches: list[Batch], places: Sequence[int]) -> None:
    """Put halves in place of some micro-batches."""
    for place in reversed(places):
        batches[place : place + 1] = data.halves(batches[place])


def _halves(data: StepData, batch: Batch) -> Sequence[Batch]:
    return data.halves(batch) if isinstance(data, Divisible) else [batch]


def _raise_unless_memory(error: MemoryError | RuntimeError, place: int) -> None:
    """Turn an out-of-memory error into `_DoesNotFit`; any other error goes on as it is."""
    message = str(error).lower()
    if isinstance(error, MemoryError) or "out of memory" in message or "can't allocate memory" in message:
        raise _DoesNotFit(place) from error
    raise error
