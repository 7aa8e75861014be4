"""One gradient from those of tasks by weights that their products with each other decide.

Shapes: m tasks; a Gramian is [m, m], the products of all pairs of gradients.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ofacore.protocols import AggregatorContext

Gradients = Mapping[str, Tensor]
"""Name of a parameter -> its gradient."""


class Weighted(ABC):
    """Sums gradients with weights from their Gramian.

    Only parameters that several tasks share are weighed: what belongs to one task alone has no conflict, and neither
    has a task without a gradient there. Weights are scaled to a sum of m, that of the plain sum, so that learning rate
    and clipping mean the same.
    """

    @abstractmethod
    def weights(self, gramian: Tensor, tasks: Sequence[str], ctx: AggregatorContext) -> Tensor:
        """Weights [m], up to their scale, from a Gramian [m, m] in fp64 of trace m."""

    def __call__(
        self,
        losses: Mapping[str, float],
        gradients: Mapping[str, Gradients],
        ctx: AggregatorContext,
    ) -> Gradients:
        tasks = sorted(gradients)
        shared = shared_names(gradients)
        factors = dict.fromkeys(tasks, 1.0)
        gramian = gramian_of(gradients, tasks, shared)
        pulling = [place for place, square in enumerate(gramian.diagonal().tolist()) if square > 0]
        if len(pulling) > 1:
            own, names = gramian[pulling][:, pulling], [tasks[place] for place in pulling]
            found = self.weights(own / (float(own.trace()) / len(names)), names, ctx)
            factors |= scaled(dict(zip(names, found.tolist(), strict=True)))
        return combined(gradients, factors, shared)


def shared_names(gradients: Mapping[str, Gradients]) -> tuple[str, ...]:
    """Parameters in which at least two tasks have a part."""
    counts: dict[str, int] = {}
    for own in gradients.values():
        for name in own:
            counts[name] = counts.get(name, 0) + 1
    return tuple(name for name, count in counts.items() if count > 1)


def gramian_of(
    gradients: Mapping[str, Gradients], tasks: Sequence[str], names: Sequence[str]
) -> Tensor:
    """Products of the gradients of all pairs of tasks over some parameters, fp64 [m, m]."""
    gramian = torch.zeros(len(tasks), len(tasks), dtype=torch.float64)
    for name in names:
        there = [place for place, task in enumerate(tasks) if name in gradients[task]]
        rows = torch.stack([gradients[tasks[place]][name].flatten() for place in there])
        places = torch.tensor(there)
        gramian[places[:, None], places] += (rows @ rows.T).double().cpu()
    return gramian


def scaled(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights whose sum is their number; all 1 where they sum to nothing."""
    total = sum(weights.values())
    if total <= 0:
        return dict.fromkeys(weights, 1.0)
    return {task: weight * len(weights) / total for task, weight in weights.items()}


def combined(
    gradients: Mapping[str, Gradients], factors: Mapping[str, float], shared: Sequence[str]
) -> dict[str, Tensor]:
    """The sum of all gradients, those of shared parameters with factors."""
    weighed = set(shared)
    found: dict[str, Tensor] = {}
    for task, own in gradients.items():
        for name, gradient in own.items():
            part = gradient * factors[task] if name in weighed else gradient
            found[name] = found[name] + part if name in found else part
    return found
