"""Weights by the norms of gradients: no task pulls harder than it should."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ofa_aggregators_torchjd.gramian import Gradients, combined, gramian_of, shared_names
from ofacore.protocols import AggregatorContext, Options

_SMALLEST = 1e-12


class GradNorm:
    """Gradients of equal norm, longer for tasks that have learned less (after Chen et al. 2018).

    The norm of a task is set to the mean norm times its rate to the power ``alpha``. A rate is the loss as a share of
    that of the first step, divided by the mean share. Weights are set in each step, not learned by a rate of their own.
    """

    def __init__(self, options: Options) -> None:
        self._alpha = float(options["alpha"])
        self._first: dict[str, float] = {}

    def __call__(
        self,
        losses: Mapping[str, float],
        gradients: Mapping[str, Gradients],
        ctx: AggregatorContext,
    ) -> Gradients:
        tasks, shared = sorted(gradients), shared_names(gradients)
        squares = gramian_of(gradients, tasks, shared).diagonal()
        norms = dict(zip(tasks, squares.sqrt().tolist(), strict=True))
        rates = self._rates({task: losses[task] for task in tasks})
        pulling = {task: norm for task, norm in norms.items() if norm > 0}
        mean = sum(pulling.values()) / max(1, len(pulling))
        factors = dict.fromkeys(tasks, 1.0)
        for task, norm in pulling.items():
            factors[task] = mean * rates[task] ** self._alpha / max(norm, _SMALLEST)
        return combined(gradients, factors, shared)

    def _rates(self, losses: Mapping[str, float]) -> dict[str, float]:
        """How much of its loss each task still has, beside the mean."""
        for task, loss in losses.items():
            self._first.setdefault(task, max(abs(loss), _SMALLEST))
        left = {
            task: max(abs(loss), _SMALLEST) / self._first[task] for task, loss in losses.items()
        }
        mean = sum(left.values()) / len(left)
        return {task: share / mean for task, share in left.items()}

    def state(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"first": self._first}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        self._first = dict(state["first"])
