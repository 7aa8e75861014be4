"""The gradient of one step: all micro-batches forward and backward, with every fault traced and dealt with.

A fault restarts the step with other micro-batches: out of memory, with the one that did not fit in halves; a loss or
gradient that is not finite, with the guilty one in halves, until a single sample is left to drop: within a micro-batch,
what is not finite may spread from its sample to others of the same row. So what was accumulated before
a fault never stays, and the result is that of a step that had these micro-batches from the start.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn

import torch

from ofacore.batching.steps import Step
from ofacore.batching.transfer import batch_on
from ofacore.config.train_section import FaultConfig
from ofacore.model.universal import UniversalModel
from ofacore.parallel.agreement import everyones, of_the_model
from ofacore.parallel.process_groups import data_rank, data_size, layout
from ofacore.protocols import Batch, Loss, SampleInfo, TermGroup
from ofacore.sources.data_errors import BlamingBatch
from ofacore.training.optim.optimizer import RunOptimizer
from ofacore.training.step.aggregation import RunAggregator, TaskGradients, losses_of_tasks
from ofacore.training.step.faults import Fault, FaultCounters
from ofacore.training.step.loss_groups import without
from ofacore.training.step.pass_report import positions_of
from ofacore.training.step.stand_ins import in_step, lockstep
from ofacore.training.step.step_agreement import Outcome, merged, outcomes, step_facts
from ofacore.training.step.step_scope import StepCache, StepGradients, is_step_wide, step_groups
from ofacore.training.step.teaching import Teaching
from ofacore.training.step.weighing import Scale, TermSums, Totals, Unread, backward, joined, weigh
from ofacore.training.training_errors import NonFiniteError, OutOfMemoryError

_SEEDS = 2**63
"""Seeds that torch takes are below."""
_STAGE_SEEDS = 2_147_483_647
"""Distance of the random seeds of two stages of a pipeline."""


class _DoesNotFit(Exception):
    """Out of memory on the micro-batch at ``place``; None: on one of another data rank."""

    def __init__(self, place: int | None) -> None:
        self.place = place
        super().__init__(place)


@dataclass
class PassReport:
    """What one try over all micro-batches gave."""

    sums: TermSums = field(default_factory=TermSums)
    bad: list[SampleInfo] = field(default_factory=list)
    """Samples whose loss is not finite; they are left out of the total."""
    suspects: list[int] = field(default_factory=list)
    """Micro-batches with such samples beside others: what is not finite may have come from a neighbour in the row."""
    cause: str = ""
    """Of this process's own: the component that makes what is not finite, and its plugin; empty where none is known."""
    culprit: int | None = None
    """First micro-batch after which the gradient is not finite; only looked for where asked."""
    hopeless: list[int] = field(default_factory=list)
    """Micro-batches without a finite loss, where they have to go through the backward pass all the same."""
    unread: Unread | None = None
    """Losses that are taken to be finite until they are read; None: each is looked at where it comes up."""


@dataclass
class Lost:
    """What earlier tries of a step left out, where a micro-batch had to be emptied and all began anew."""

    samples: list[SampleInfo] = field(default_factory=list)
    cause: str = ""
    """As `PassReport.cause`."""


@dataclass
class StepGradient:
    """The gradients stand in the optimiser's masters; this is what to report."""

    values: dict[str, float]
    norm: float
    faults: list[Fault]
    samples: int = 0
    positions: int = 0


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
        tasks: Makes one gradient of those of the tasks, where that is not their sum.
    """

    model: UniversalModel
    optimizer: RunOptimizer
    policy: FaultConfig
    counters: FaultCounters
    seed: int = 0
    loss_weights: dict[str, float] = field(default_factory=dict)
    tasks: TaskGradients | None = None
    """Gradients kept apart by task until all are there; None: their sum alone is needed."""
    weigher: RunAggregator | None = None
    """Weighs the losses of tasks anew in each step; None: ``loss_weights`` stay."""
    by_samples: bool = False
    """A task counts by its share of the step's samples; else all count alike."""
    teaching: Teaching | None = None
    """Teachers whose predictions are learned from, too."""
    reads_at_the_end: ClassVar[bool] = True
    """Losses are read once a step. Where one is not finite, the step is done again and looks at each."""
    _trusting: bool = field(default=False, init=False)

    def run(self, data: Step) -> StepGradient:
        """Accumulate the gradients of one step.

        Raises:
            NonFiniteError: Under ``train.faults.nan=raise``.
            OutOfMemoryError: One sample does not fit, or under ``train.faults.out_of_memory=raise``.
            FaultLimitError: Too many samples were left out.
        """
        batches = list(data.batches)
        known = step_facts(
            data.counts, sum(len(batch.samples) for batch in batches), positions_of(batches)
        )
        weights = self._weights(data)
        counts = known.counts
        if self.teaching is not None:
            self.teaching.begin(data)
            counts = self.teaching.counts(counts)
        scale = Scale(counts, known.samples, weights, self.tasks is not None)
        faults: list[Fault] = []
        lost = Lost()
        self._trusting = self.reads_at_the_end
        while True:
            done = self._attempt(data, batches, scale, faults, lost)
            if done is None:
                continue
            self._whole_gradient(data.number)
            norm = float(self.optimizer.gradient_norm())
            if math.isfinite(norm):
                sums, bad, cause = merged(
                    done.sums, [*lost.samples, *done.bad], done.cause or lost.cause
                )
                faults += self._skipped(data.number, "nan", bad, "loss is not finite", cause)
                if self.weigher is not None:
                    self.weigher.learn(data.number, losses_of_tasks(sums, sorted(data.samples)))
                return StepGradient(sums.report(), norm, faults, known.samples, known.positions)
            searched = self._attempt(data, batches, scale, faults, lost, search=True)
            if searched is not None:
                faults += self._narrow(data, batches, searched.culprit)

    def _weights(self, data: Step) -> dict[str, float]:
        weights = self.loss_weights
        if self.by_samples:
            weights = _times(weights, _shares(data.samples))
        if self.weigher is not None:
            weights = _times(weights, self.weigher.weights(data.number, sorted(data.samples)))
        return weights

    def _whole_gradient(self, step: int) -> None:
        """Make what this process accumulated the gradient of the whole step."""
        if self.tasks is None:
            self.optimizer.sum_gradients()
        else:
            self.tasks.aggregate(step)

    def _attempt(
        self,
        data: Step,
        batches: list[Batch],
        scale: Scale,
        faults: list[Fault],
        lost: Lost,
        search: bool = False,
    ) -> PassReport | None:
        """One try over all micro-batches; None where any process had to change its own and all start anew."""
        done, outcome = None, Outcome()
        try:
            done = self._pass(data.number, batches, scale, search)
        except _DoesNotFit as fault:
            if fault.place is not None:
                outcome = self._halve_for_memory(data, batches, fault.place)
        else:
            wrong = done.unread is not None and not self._read(done)
            cut = {} if search else _halved(data, batches, done.suspects)
            hopeless = [place for place in done.hopeless if place not in cut]
            for place in hopeless:
                lost.samples += batches[place].samples
                lost.cause = lost.cause or done.cause
                batches[place] = Batch(None, None, (), ())
            for place in sorted(cut, reverse=True):
                batches[place : place + 1] = cut[place]
            outcome = Outcome(again=bool(wrong or cut or hopeless))
        found = outcomes(outcome)
        for samples in (each.memory for each in found if each.memory):
            faults += self.counters.note_memory(data.number, samples)
        return None if any(each.again for each in found) else done

    def _read(self, done: PassReport) -> bool:
        """Read what was left unread; False, and no more trust in this step, where something is not finite."""
        assert done.unread is not None
        found = done.unread.read()
        self._trusting = found is not None
        done.sums, done.unread = found or TermSums(), None
        return found is not None

    def _pass(
        self, step: int, batches: Sequence[Batch], scale: Scale, search: bool = False
    ) -> PassReport:
        self.optimizer.zero_grad()
        if self.tasks is not None:
            self.tasks.begin(batches)
        unread = Unread() if self._trusting and not search else None
        done = PassReport(unread=unread)
        shared = self._whole_step_losses(step, batches, scale, done)
        for place, batch in enumerate(self._in_step(batches)):
            try:
                with BlamingBatch(batch.samples):
                    self._micro_batch(step, place, batch, scale, shared, done)
            except (MemoryError, RuntimeError) as error:
                raise_unless_memory(error, place)
            if search and done.culprit is None and not self._still_finite():
                done.culprit = place
        return done

    def _still_finite(self) -> bool:
        """What this process holds alone, so far."""
        if self.tasks is not None:
            return self.tasks.finite()
        return math.isfinite(float(self.optimizer.gradient_norm(everywhere=False)))

    def _in_step(self, batches: Sequence[Batch]) -> Sequence[Batch]:
        """What this process computes together with the other data ranks."""
        return in_step(self.model, batches)

    def _micro_batch(
        self,
        step: int,
        place: int,
        batch: Batch,
        scale: Scale,
        shared: StepGradients | None,
        done: PassReport,
    ) -> None:
        if self.teaching is not None:
            self.teaching.look(batch)
        self._seed(step, place)
        batch = self._placed(batch)
        hidden = self.model.hidden(batch)
        known = len(done.bad)
        totals = self._totals(place, batch, hidden, scale, shared, done)
        if lockstep(self.model):
            done.hopeless += [place] if not totals and len(done.bad) > known else []
            zeros = zeros_of(hidden)
            totals += zeros if self.tasks is None else self.tasks.for_everyone(zeros)
        for name in backward(joined(totals)):
            self._take(name)

    def _take(self, name: str) -> None:
        """Take over gradients that a backward pass left."""
        self.optimizer.collect()
        if self.tasks is not None:
            self.tasks.take(name)

    def _totals(
        self,
        place: int,
        batch: Batch,
        hidden: Any,
        scale: Scale,
        shared: StepGradients | None,
        done: PassReport,
    ) -> list[Totals]:
        """What a micro-batch adds to the total of the step; notes its report and its faults in ``done``."""
        own = [
            group for group in batch.terms if shared is None or not is_step_wide(self.model, group)
        ]
        if done.unread is not None:
            return self._trusted(place, batch, own, hidden, scale, shared, done.unread)
        weighed = weigh(self._losses(own, hidden), batch, scale)
        done.bad += [batch.samples[sample] for sample in weighed.bad]
        if weighed.bad:
            good = [sample for sample in range(len(batch.samples)) if sample not in weighed.bad]
            done.cause = done.cause or self._cause(batch, hidden, without(own, good))
            done.suspects += [place] if len(batch.samples) > 1 else []
            weighed = weigh(self._losses(without(own, weighed.bad), hidden), batch, scale)
        done.sums.merge(weighed.sums)
        self._note(weighed.total)
        totals = [weighed.total] if weighed.total else []
        if totals or (shared is not None and not own and shared.learns_from(place, batch)):
            totals += self._auxiliary(batch, hidden, scale, done)
        if shared is not None:
            totals += shared.surrogates(self.model, batch, place, hidden)
        return totals

    def _cause(self, batch: Batch, hidden: Any = None, groups: Sequence[TermGroup] = ()) -> str:
        find = getattr(self.model, "source_of_not_finite", None)
        return find(batch, hidden, groups) if find else ""

    def _trusted(
        self,
        place: int,
        batch: Batch,
        own: Sequence[TermGroup],
        hidden: Any,
        scale: Scale,
        shared: StepGradients | None,
        unread: Unread,
    ) -> list[Totals]:
        """The same where all losses are finite; whether they are is read at the end of the step."""
        totals: list[Totals] = []
        if own:
            totals.append(unread.weigh(self._losses(own, hidden), batch, scale))
            self._note(totals[0])
        if batch.terms:
            balance = list(self.model.auxiliary(batch, hidden))
            unread.note(balance)
            totals += _of_no_task(balance, scale)
        if shared is not None:
            totals += shared.surrogates(self.model, batch, place, hidden)
        return totals

    def _note(self, total: Totals) -> None:
        """Losses of tasks, for whoever weighs them."""
        if self.tasks is not None:
            self.tasks.note(total)

    def _placed(self, batch: Batch) -> Batch:
        """The micro-batch where the model is."""
        return batch_on(batch, self.optimizer.device)

    def _auxiliary(self, batch: Batch, hidden: Any, scale: Scale, done: PassReport) -> list[Totals]:
        """What the model adds of its own; left out where it is not finite, for the samples' losses tell whose it is."""
        finite = [
            (group, loss)
            for group, loss in self.model.auxiliary(batch, hidden)
            if loss.values.isfinite().all()
        ]
        for group, loss in finite:
            done.sums.add(group, loss, [True])
        return _of_no_task(finite, scale)

    def _losses(self, groups: Sequence[TermGroup], hidden: Any) -> list[tuple[TermGroup, Loss]]:
        """Losses of groups, and what teachers add to them."""
        found = []
        for group in groups:
            loss = self.model.loss(group, self.model.predict(group, hidden), hidden)
            if self.teaching is None:
                found.append((group, loss))
            else:
                found += self.teaching.losses(self.model, group, loss, hidden)
        return found

    def _whole_step_losses(
        self, step: int, batches: Sequence[Batch], scale: Scale, done: PassReport
    ) -> StepGradients | None:
        if not self.sees_whole_step(batches):
            return None
        cache, unfit = StepCache(self.model), None
        try:
            for place, batch in enumerate(self._in_step(batches)):
                self._collect(cache, step, place, batch)
        except _DoesNotFit as fault:
            unfit = fault
        self._check_all_fit(unfit)
        return self._collected(cache, batches, scale, done)

    def _collect(self, cache: StepCache, step: int, place: int, batch: Batch) -> None:
        self._seed(step, place)
        try:
            with BlamingBatch(batch.samples):
                cache.collect(self._placed(batch), place)
        except (MemoryError, RuntimeError) as error:
            raise_unless_memory(error, place)

    def _check_all_fit(self, unfit: _DoesNotFit | None) -> None:
        """Before data ranks show each other what they have: one without memory has nothing to show.

        Raises:
            _DoesNotFit: On this process, or on another that goes on with halves.
        """
        others = self._cuts_alone() and any(everyones(unfit is not None))
        if unfit is not None or others:
            raise unfit or _DoesNotFit(None)

    def sees_whole_step(self, batches: Sequence[Batch]) -> bool:
        """Whether any data rank has a group whose criterion sees the whole step."""
        return any(everyones(any(step_groups(self.model, batch) for batch in batches)))

    def _collected(
        self, cache: StepCache, batches: Sequence[Batch], scale: Scale, done: PassReport
    ) -> StepGradients | None:
        shared = cache.gradients(scale, done.unread, self._take)
        if shared is not None:
            for total in shared.totals:
                self._note(total)
            done.sums.merge(shared.sums)
            done.bad += [
                batches[place].samples[s] for place, samples in shared.bad.items() for s in samples
            ]
            for place in shared.bad:
                done.cause = done.cause or self._cause(batches[place])
        return shared

    def _seed(self, step: int, place: int) -> None:
        """Dropout depends on nothing that came before, so that a resumed run repeats it."""
        torch.manual_seed(self._seed_of(step, place))

    def _seed_of(self, step: int, place: int, stage: int = 0) -> int:
        own = (self.seed * 1_000_003 + step) * 4099 + place * data_size() + data_rank()
        return (own + stage * _STAGE_SEEDS) % _SEEDS

    def _halve_for_memory(self, data: Step, batches: list[Batch], place: int) -> Outcome:
        """Halve the micro-batch that did not fit.

        Raises:
            OutOfMemoryError: The other processes of the model, or of the step, are in the midst of it.
        """
        batch = batches[place]
        alone = self._cuts_alone()
        halves = [batch]
        if self.policy.out_of_memory == "split" and alone:
            halves = data.halves(batch)
        if len(halves) > 1:
            batches[place : place + 1] = halves
            return Outcome(True, batch.samples)
        self.optimizer.zero_grad()
        error = OutOfMemoryError(
            data.number, batch.samples, "lower train.micro_batch_positions or _samples"
        )
        if not alone or data_size() == 1:
            raise error
        return Outcome(error=str(error))

    def _cuts_alone(self) -> bool:
        """Whether this process may cut a micro-batch: no other is in the midst of the same one."""
        return layout().tensor * layout().pipeline == 1 and not lockstep(self.model)

    def _narrow(self, data: Step, batches: list[Batch], culprit: int | None) -> list[Fault]:
        """Halve the guilty micro-batch, or drop it where it cannot be halved.

        Where no process can tell, the gradients are finite alone but not together: each narrows its last one.
        """
        own = min((place for place in of_the_model(culprit) if place is not None), default=None)
        place = len(batches) - 1 if all(other is None for other in everyones(own)) else own
        dropped: list[SampleInfo] = []
        if place is not None and 0 <= place < len(batches):
            batch = batches[place]
            halves = data.halves(batch)
            batches[place : place + 1] = halves if len(halves) > 1 else []
            dropped += [] if len(halves) > 1 else batch.samples
        lost = [sample for samples in everyones(dropped) for sample in samples]
        return (
            self._skipped(data.number, "gradient", lost, "gradient is not finite") if lost else []
        )

    def _skipped(
        self, step: int, kind: str, samples: Sequence[SampleInfo], reason: str, cause: str = ""
    ) -> list[Fault]:
        told = f"{cause} gives numbers that are not finite, from numbers that are" if cause else ""
        if samples and self.policy.nan == "raise":
            self.optimizer.zero_grad()
            what = "the loss" if kind == "nan" else "the gradient"
            way_out = "look at these rows, or set train.faults.nan=skip"
            if told:
                way_out = f"{reason}: {told}; {way_out}"
            raise NonFiniteError(step, samples, what, way_out)
        found = f"{reason}: {told}" if told else reason
        return self.counters.note_skipped(step, kind, samples, found, cause)


def _shares(samples: Mapping[str, int]) -> dict[str, float]:
    """Task -> its share of the samples; 1 in the mean over tasks that have any."""
    tasks = sum(number > 0 for number in samples.values())
    mean = sum(samples.values()) / tasks
    return {task: number / mean for task, number in samples.items()}


def _times(weights: Mapping[str, float], factors: Mapping[str, float]) -> dict[str, float]:
    """Weights, 1 where absent, times factors of some tasks."""
    changed = {task: weights.get(task, 1.0) * factor for task, factor in factors.items()}
    return {**weights, **changed}


def _halved(data: Step, batches: Sequence[Batch], places: Sequence[int]) -> dict[int, list[Batch]]:
    """Place -> halves of the micro-batch there, of those that can be cut."""
    halves = {place: data.halves(batches[place]) for place in places}
    return {place: parts for place, parts in halves.items() if len(parts) > 1}


def _of_no_task(losses: Sequence[tuple[TermGroup, Loss]], scale: Scale) -> list[Totals]:
    """What the model's own losses add to the total of the step."""
    return [
        {"": loss.values.sum() * (group.weights[0] / max(1, scale.samples))}
        for group, loss in losses
    ]


def zeros_of(hidden: Any) -> list[Totals]:
    """Nothing, with a gradient path through all that was computed."""
    states = [state for state in (hidden.source, hidden.target) if state is not None]
    zeros = [(state * 0).float().sum() for state in states] + (
        [] if hidden.idle is None else [hidden.idle.float()]
    )
    return [{"": zero} for zero in zeros]


def raise_unless_memory(error: MemoryError | RuntimeError, place: int) -> NoReturn:
    """Turn an out-of-memory error into `_DoesNotFit`; any other error goes on as it is."""
    message = str(error).lower()
    if (
        isinstance(error, MemoryError)
        or "out of memory" in message
        or "can't allocate memory" in message
    ):
        raise _DoesNotFit(place) from error
    raise error
