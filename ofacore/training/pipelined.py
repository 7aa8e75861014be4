"""The gradient of one step on one stage of a pipeline.

Every process of a pipeline sees the same micro-batches and decides the same: what the last stage learns of losses and
faults is broadcast. Faults are dealt with as on one process, with two differences: a micro-batch without a single
finite loss is emptied and the step runs again, since its zeros times what is not finite would reach earlier stages;
and out of memory ends the run, since the other stages are in the midst of their own work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ofacore.model.item_needs import Hidden
from ofacore.model.pipeline.stage_pass import Boundary, balance_of, forward_stage, share_of
from ofacore.model.pipeline.stages import Stage
from ofacore.parallel.cutting import refusal
from ofacore.parallel.pipeline import PipelineError, from_last, run_pipeline
from ofacore.parallel.tied import TiedGroups
from ofacore.protocols import Batch
from ofacore.sources.data_errors import BlamingBatch
from ofacore.training.gradients import GradientPass, PassReport, raise_unless_memory, zeros_of
from ofacore.training.step.stand_ins import lockstep
from ofacore.training.step.step_scope import StepCache, StepGradients
from ofacore.training.step.weighing import Scale, joined

if TYPE_CHECKING:
    pass


@dataclass
class PipelinePass(GradientPass):
    """Computes gradients of steps together with the other stages of the pipeline; see `GradientPass`.

    ``model`` is cut by `ofacore.model.pipeline.stages.cut_model`. Every process of the run makes it at the same time.

    Raises:
        PipelineError: A criterion of the model cannot work across stages.
    """

    reads_at_the_end: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._staged = self.model
        self._refuse((part.name, part.options) for part in self._staged.needs.criteria)
        self._tied = TiedGroups(self._stage.holders.values())

    @property
    def _stage(self) -> Stage:
        assert self._staged.stage is not None
        return self._staged.stage

    def _refuse(self, criteria: Iterable[tuple[str, Any]]) -> None:
        for name, options in criteria:
            for need in sorted(self.model.criterion(name, options).needs):
                raise PipelineError(refusal(name, need))

    def _pass(
        self, step: int, batches: Sequence[Batch], scale: Scale, search: bool = False
    ) -> PassReport:
        self._refuse((group.criterion, group.options) for batch in batches for group in batch.terms)
        batches = [self._placed(batch) for batch in self._in_step(batches)]
        self.optimizer.zero_grad()
        done, culprit = PassReport(), None
        shared = self._whole_step_losses(step, batches, scale, done)

        def compute(place: int, received: Tensor | None) -> Tensor:
            now = self._forward(step, place, batches[place], received)
            return (
                self._total(place, batches[place], now, scale, shared, done)
                if self._stage.last
                else now.pack()
            )

        places = range(len(batches))
        for some in [[place] for place in places] if search else [places]:
            run_pipeline(compute, some, self._staged.dtype)
            if search and culprit is None and not self._still_finite():
                culprit = some[0]
        self._tied.sum_gradients(self._stage.holders, self.optimizer.masters)
        done = from_last(done)
        done.culprit = culprit
        return done

    def _forward(self, step: int, place: int, batch: Batch, received: Tensor | None) -> Boundary:
        self._seed(step, place)
        try:
            with BlamingBatch(batch.samples):
                return forward_stage(self._staged, share_of(self._stage, batch), received)
        except (MemoryError, RuntimeError) as error:
            raise_unless_memory(error, place)

    def _total(
        self,
        place: int,
        batch: Batch,
        now: Boundary,
        scale: Scale,
        shared: StepGradients | None,
        done: PassReport,
    ) -> Tensor:
        """The micro-batch's part of the step's total; depends on what came in even where nothing is to be learned."""
        hidden = Hidden(now.memory, now.decoded, balance_of(self._staged, batch, now))
        known = len(done.bad)
        with BlamingBatch(batch.samples):
            totals = self._totals(place, batch, hidden, scale, shared, done)
        if not totals and len(done.bad) > known:
            done.hopeless.append(place)
        totals += zeros_of(hidden) if lockstep(self.model) else []
        return joined([*totals, {"": (now.extra * 0).float().sum()}])[""]

    def _whole_step_losses(
        self, step: int, batches: Sequence[Batch], scale: Scale, done: PassReport
    ) -> StepGradients | None:
        """Losses over the whole step; the last stage alone knows them and their gradients."""
        if not self.sees_whole_step(batches):
            return None
        cache = StepCache(self.model)

        def compute(place: int, received: Tensor | None) -> Tensor:
            now = self._forward(step, place, batches[place], received)
            if self._stage.last:
                cache.collect(batches[place], place, Hidden(now.memory, now.decoded))
            return now.pack()

        run_pipeline(compute, range(len(batches)), self._staged.dtype, forward_only=True)
        return self._collected(cache, batches, scale, done) if self._stage.last else None

    def _seed(self, step: int, place: int) -> None:
        """Each stage draws numbers of its own."""
        torch.manual_seed(self._seed_of(step, place, self._stage.number))
