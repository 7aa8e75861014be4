"""From predictions to losses, and what is learned from which task, when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """Per-item losses; the core weighs and sums them, so that any split of a step gives the same gradient."""

    values: Tensor
    """fp32 [items]: the SUM over each item's counted units."""
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    """fp32 [items] each: for reports only, detached."""
    units: Tensor | None = None
    """fp32 [items]: units that means in reports are taken over, where some counted units tell nothing, such as tokens
    without an alternative; None: those that the criterion counts. The gradient is divided by its count all the same."""


@dataclass(frozen=True)
class CriterionContext:
    """What a criterion knows of the items it gets."""

    lengths: tuple[int, ...]
    label_lengths: Mapping[str, tuple[int, ...]]
    attention: Sequence[Sequence[Tensor]] | None = None
    """For ``needs = {"attention"}``: for each layer of `AttentionCriterion.attention_layers`, and for each item, how
    much its positions read of the positions of its own source: [heads, positions, source positions]."""


class Criterion(Protocol):
    """Built as ``cls(options)``; an ``nn.Module`` if it owns parameters.

    ``scope``: ``position`` or ``segment`` (a micro-batch suffices), ``step`` (sees all items of the step at once).
    ``needs``: empty, or ``attention``, or ``rollout``.
    """

    scope: ClassVar[Literal["position", "segment", "step"]]
    needs: ClassVar[frozenset[str]]
    batch_coupled: ClassVar[bool]

    def count(self, labels: Mapping[str, np.ndarray]) -> int:
        """Units of loss of one item, from its labels alone."""

    def __call__(
        self, prediction: Any, labels: Mapping[str, Tensor], ctx: CriterionContext
    ) -> Loss:
        """Losses of all items."""


class AttentionCriterion(Protocol):
    """What a `Criterion` with ``needs = {"attention"}`` may offer besides."""

    attention_layers: Sequence[int] = (-1,)
    """Decoder layers whose cross-attention it gets, from 0; -1 is the last. May depend on its options."""


class TaughtCriterion(Protocol):
    """What a `Criterion` offers besides so that a teacher can take part (``train.teachers``)."""

    def distillation(
        self, prediction: Any, taught: Any, labels: Mapping[str, Tensor], ctx: CriterionContext
    ) -> Loss:
        """How far predictions are from those of a teacher for the same items; least where both are the same.

        Args:
            prediction: What the slot's head says.
            taught: What the head of a trained model says of the same items, without a gradient.
            labels: Of the items, as they are called with.
            ctx: As they are called with, without attention.

        Returns:
            One sum for each item over the units that `Criterion.count` tells.
        """


@dataclass(frozen=True)
class TaskShare:
    """What a schedule knows of a task."""

    rows: int
    weight: float = 1.0


@dataclass(frozen=True)
class ScheduleContext:
    """What a schedule knows of the run."""

    steps: int
    """Steps that the run takes in all; a run that goes on may have more than it began with."""


class Schedule(Protocol):
    """Built as ``cls(tasks: Mapping[str, TaskShare], samples: int, seed: int, options)``. Pure in (seed, step).

    A class whose constructor has a parameter ``context`` gets a `ScheduleContext` by that name.
    """

    def counts(self, step: int) -> dict[str, int]:
        """Samples of each task in a step; tasks with none may be left out. A task without rows or weight has none."""


@dataclass(frozen=True)
class AggregatorContext:
    """What an aggregator knows of the step."""

    step: int
    """Counted from 0."""
    rng: np.random.Generator
    """Seeded by (run seed, step), the same on every process: its only source of randomness."""
    parameters: Mapping[str, Tensor]
    """Name -> values of every trained parameter, not to be changed."""


class Aggregator(Protocol):
    """Makes the gradient of a step from those of its tasks. Built as ``cls(options)``.

    Each task of a micro-batch then costs a backward pass, and each task of a step an fp32 gradient of the model. A
    class whose attribute ``plain_sum`` is True means the sum: that costs nothing more, and it is never called.

    One that learns has ``state() -> Mapping``, JSON-ready, and ``load_state(state)``: checkpoints keep that.
    """

    def __call__(
        self,
        losses: Mapping[str, float],
        gradients: Mapping[str, Mapping[str, Tensor]],
        ctx: AggregatorContext,
    ) -> Mapping[str, Tensor]:
        """The gradient to update with.

        Args:
            losses: Task -> its share of the step's total loss, weighed, over all micro-batches and processes.
            gradients: Task -> name of a parameter -> fp32 gradient of that share, of the parameter's shape; without
                parameters that the task has no part in. They may be changed.
            ctx: The step, random numbers and parameters.

        Returns:
            Name of a parameter -> its gradient. A parameter that is left out is not updated. What belongs to no task
            (the balance of routers) is added by the core.
        """


class LossWeighing(Protocol):
    """An aggregator that weighs the losses of tasks and needs no gradients: one backward pass, as with the sum.

    Built as ``cls(options)``. One that learns has ``state`` and ``load_state``, as `Aggregator`.
    """

    weighs_losses: ClassVar[bool] = True

    def weights(self, tasks: Sequence[str]) -> Mapping[str, float]:
        """Task -> factor on its losses in the step to come, finite and from 0; 1 for those left out."""

    def learn(self, losses: Mapping[str, float]) -> None:
        """What the step gave: task -> its loss before factors, as a mean over counted units, summed over its terms."""


@dataclass(frozen=True)
class Record:
    """One line of metrics."""

    step: int
    values: Mapping[str, float]
    """``split/task/metric`` -> value."""


class Tracker(Protocol):
    """Receives metrics: TensorBoard, JSONL, a web service. Built as ``cls(folder, options)``."""

    def log(self, record: Record) -> None:
        """Write one record."""

    def close(self) -> None:
        """Flush and release."""
