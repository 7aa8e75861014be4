"""One gradient of those of the tasks, where a run asks for more than their sum.

Gradients are accumulated for each task apart, over all micro-batches, and summed over data ranks; then an
`ofacore.protocols.Aggregator` sees those of the whole step, the same on every rank. A run that sums has none of this.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ofacore.config.train_section import TrainConfig
from ofacore.parallel.agreement import everyones
from ofacore.plugin import Registry
from ofacore.plugin.blame import Blame, who
from ofacore.protocols import Aggregator, AggregatorContext, Batch, Options
from ofacore.training.optim.optimizer import RunOptimizer
from ofacore.training.step.weighing import TermSums, Totals
from ofacore.training.training_errors import AggregatorError

logger = logging.getLogger("ofacore.training")
Gradients = Mapping[str, Tensor]
"""Name of a parameter -> fp32 gradient."""


class Sum:
    """Adds the gradients of all tasks up; the trainer does that by itself, in one backward pass."""

    plain_sum: ClassVar[bool] = True

    def __init__(self, options: Options) -> None:
        pass

    def __call__(
        self,
        losses: Mapping[str, float],
        gradients: Mapping[str, Gradients],
        ctx: AggregatorContext,
    ) -> Gradients:
        return summed(gradients.values())


def summed(gradients: Iterable[Gradients]) -> dict[str, Tensor]:
    """Sums by name; the tensors that are given stay as they are."""
    found: dict[str, Tensor] = {}
    for each in gradients:
        for name, gradient in each.items():
            found[name] = found[name] + gradient if name in found else gradient
    return found


@dataclass(frozen=True)
class RunAggregator:
    """The aggregator of a run."""

    aggregate: Aggregator
    owner: str
    """Name and plugin, for messages."""
    seed: int
    name: str = ""
    """As the configuration has it; what it learned goes by that."""

    def __call__(
        self,
        step: int,
        losses: Mapping[str, float],
        gradients: Mapping[str, Gradients],
        parameters: Mapping[str, Tensor],
    ) -> Gradients:
        """The gradient of a step from finite ones of its tasks.

        Raises:
            AggregatorError: What it gives cannot be the gradient of these parameters, or is not finite.
        """
        ctx = AggregatorContext(step, np.random.default_rng((self.seed, step)), parameters)
        with Blame(self.owner, f"when it made the gradient of step {step}"):
            found = self.aggregate(losses, gradients, ctx)
        if problem := _problem(found, parameters):
            raise AggregatorError(f"{self.owner}: at step {step} it {problem}")
        return found

    @property
    def weighs_losses(self) -> bool:
        """Whether it is an `ofacore.protocols.LossWeighing`, which needs no gradients of tasks."""
        return bool(getattr(self.aggregate, "weighs_losses", False))

    def weights(self, step: int, tasks: Sequence[str]) -> dict[str, float]:
        """Factors on the losses of a step's tasks.

        Raises:
            AggregatorError: They are no numbers from 0.
        """
        with Blame(self.owner, f"when it weighed the losses of step {step}"):
            found = dict(self.aggregate.weights(tasks))  # type: ignore[attr-defined]
        for task, weight in found.items():
            if not (isinstance(weight, int | float) and math.isfinite(weight) and weight >= 0):
                told = f"at step {step} it gives task {task!r:.60} the weight {weight!r:.40}"
                raise AggregatorError(f"{self.owner}: {told}, no number from 0")
        return found

    def learn(self, step: int, losses: Mapping[str, float]) -> None:
        """Hand on what a step gave."""
        with Blame(self.owner, f"when it learned from step {step}"):
            self.aggregate.learn(losses)  # type: ignore[attr-defined]

    def state(self) -> Mapping[str, Any]:
        """JSON-ready: what it learned so far, which later steps do not change; empty where it keeps nothing."""
        state = getattr(self.aggregate, "state", None)
        return copy.deepcopy(dict(state())) if state else {}

    def load_state(self, state: Mapping[str, Any], name: str = "") -> None:
        """Take over what `state` returned, unless that was of another aggregator: ``name``, as far as it is known."""
        if state and name and name != self.name:
            logger.warning(
                "train.aggregator is '%s', until now '%s': it begins anew", self.name, name
            )
        elif state and hasattr(self.aggregate, "load_state"):
            with Blame(self.owner, "load_state"):
                self.aggregate.load_state(state)


def _problem(found: Any, parameters: Mapping[str, Tensor]) -> str:
    if not isinstance(found, Mapping):
        return f"gives {found!r:.60}, no mapping from parameters to gradients"
    for name, gradient in found.items():
        if name not in parameters:
            return f"gives a gradient of {name!r:.80}, which is no trained parameter"
        if not isinstance(gradient, Tensor) or gradient.shape != parameters[name].shape:
            shape = tuple(getattr(gradient, "shape", ()))
            return f"gives '{name}' a gradient of shape {shape}; it has {tuple(parameters[name].shape)}"
        if not bool(gradient.isfinite().all()):
            return f"gives '{name}' a gradient that is not finite, from gradients that are"
    return ""


def losses_of_tasks(sums: TermSums, tasks: Iterable[str]) -> dict[str, float]:
    """Task -> mean loss over counted units, summed over its terms; tasks without a finite one are left out."""
    found: dict[str, float] = {}
    for term, value in sums.values.items():
        task = next((name for name in tasks if term.startswith(f"{name}/")), None)
        if task is not None:
            found[task] = found.get(task, 0.0) + value / max(1, sums.units[term])
    return found


def run_aggregator(config: TrainConfig, registry: Registry) -> RunAggregator | None:
    """The configured aggregator; None where it is the plain sum."""
    name, options = config.aggregator.name, config.aggregator.options
    built = registry.make("aggregator", name, options)
    if getattr(built, "plain_sum", False):
        return None
    return RunAggregator(built, who(registry, "aggregator", name), config.seed, name)


class TaskGradients:
    """Gradients of one step, by task.

    Args:
        optimizer: Its masters are where backward passes leave gradients, and where the result belongs.
        aggregator: Makes the result.
    """

    def __init__(self, optimizer: RunOptimizer, aggregator: RunAggregator) -> None:
        self.optimizer, self.aggregator = optimizer, aggregator
        self._tasks: tuple[str, ...] = ()
        self._held: dict[str, dict[str, Tensor]] = {}
        self._losses: dict[str, list[Tensor]] = {}

    def begin(self, batches: Sequence[Batch]) -> None:
        """Forget everything; every data rank must call it together."""
        own = {sample.task for batch in batches for sample in batch.samples}
        self._tasks = tuple(sorted({task for tasks in everyones(own) for task in tasks}))
        self._held, self._losses = {}, {}

    def for_everyone(self, zeros: Sequence[Totals]) -> list[Totals]:
        """Zeros that give every task of the step a backward pass, for ranks that must make equally many."""
        tasks = ("", *self._tasks)
        return [dict.fromkeys(tasks, zero[""]) for zero in zeros]

    def note(self, total: Totals) -> None:
        """Losses of some items."""
        for task, value in total.items():
            self._losses.setdefault(task, []).append(value.detach())

    @torch.no_grad()
    def take(self, task: str) -> None:
        """Move what a backward pass left in the masters to the task that it was for."""
        held = self._held.setdefault(task, {})
        for name, master in self.optimizer.masters.items():
            if master.grad is not None:
                held[name] = held[name].add_(master.grad) if name in held else master.grad
                master.grad = None

    def finite(self) -> bool:
        """Whether everything that this process holds is."""
        return all(_finite(held) for held in self._held.values())

    @torch.no_grad()
    def aggregate(self, step: int) -> None:
        """Leave the gradient of the whole step in the masters; every data rank must call it together.

        Where a task's gradient is not finite, the sum is left, which is not finite either.

        Raises:
            AggregatorError: See `RunAggregator`.
        """
        whole = {task: self._everywhere(task) for task in ("", *self._tasks)}
        of_no_task = whole.pop("")
        gradients = {task: found for task, found in whole.items() if found}
        if gradients and all(map(_finite, gradients.values())):
            found = self.aggregator(
                step, self._everyones_losses(), gradients, self.optimizer.values()
            )
        else:
            found = summed(gradients.values())
        for name, gradient in summed([found, of_no_task]).items():
            self.optimizer.masters[name].grad = gradient.detach().float()
        self._held = {}

    def _everywhere(self, task: str) -> dict[str, Tensor]:
        """A task's gradients, summed over the data ranks."""
        masters = self.optimizer.masters
        for name, gradient in self._held.pop(task, {}).items():
            masters[name].grad = gradient
        self.optimizer.sum_gradients()
        found = {name: master.grad for name, master in masters.items() if master.grad is not None}
        for name in found:
            masters[name].grad = None
        return found

    def _everyones_losses(self) -> dict[str, float]:
        own = {task: float(torch.stack(values).sum()) for task, values in self._losses.items()}
        known = everyones(own)
        losses = {}
        for task in self._tasks:
            losses[task] = math.fsum(each.get(task, 0.0) for each in known)
        return losses


def _finite(gradients: Gradients) -> bool:
    norms = [gradient.norm() for gradient in gradients.values()]
    return not norms or bool(torch.stack(norms).isfinite().all())
