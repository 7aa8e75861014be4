"""Weights that are learned from losses alone: they cost what the plain sum costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ofa_aggregators_torchjd.gramian import scaled
from ofacore.protocols import Options

_SMALLEST = 1e-8


class Famo:
    """Losses fall at one pace, each relative to itself (Liu et al. 2023, "FAMO").

    Its update compares losses of one step with those of the next, on other rows of the same tasks, in place of a
    second pass over the same rows.
    """

    weighs_losses: ClassVar[bool] = True

    def __init__(self, options: Options) -> None:
        self._rate, self._decay = float(options["rate"]), float(options["decay"])
        self._logits: dict[str, float] = {}
        self._before: dict[str, float] = {}

    def weights(self, tasks: Sequence[str]) -> dict[str, float]:
        """Softmax of the logits, divided by the losses of the step before."""
        shares = softmax({task: self._logits.get(task, 0.0) for task in tasks})
        return scaled({task: share / self._before.get(task, 1.0) for task, share in shares.items()})

    def learn(self, losses: Mapping[str, float]) -> None:
        """Raise the logits of tasks whose loss fell less than that of others."""
        now = {task: max(loss, _SMALLEST) for task, loss in losses.items()}
        both = [task for task in now if task in self._before]
        shares = softmax({task: self._logits.get(task, 0.0) for task in both})
        fell = {task: math.log(self._before[task] / now[task]) for task in both}
        mean = sum(shares[task] * fell[task] for task in both)
        for task in both:
            logit = self._logits.get(task, 0.0)
            slope = shares[task] * (fell[task] - mean) + self._decay * logit
            self._logits[task] = logit - self._rate * slope
        self._before.update(now)

    def state(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"logits": self._logits, "before": self._before}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        self._logits, self._before = dict(state["logits"]), dict(state["before"])


class Uncertainty:
    """Losses weighed by what is left uncertain: exp(-s) loss + s, with an s for each task (Kendall et al. 2018).

    That is least at s = log(loss), which each s follows as a moving average.
    """

    weighs_losses: ClassVar[bool] = True

    def __init__(self, options: Options) -> None:
        self._rate, self._limit = float(options["rate"]), float(options["limit"])
        self._s: dict[str, float] = {}

    def weights(self, tasks: Sequence[str]) -> dict[str, float]:
        """exp(-s), scaled to a mean of 1: the optimiser's rate is not for the weights to set."""
        return scaled({task: math.exp(-self._s.get(task, 0.0)) for task in tasks})

    def learn(self, losses: Mapping[str, float]) -> None:
        """Move each s towards the logarithm of its loss."""
        for task, loss in losses.items():
            least = max(-self._limit, min(self._limit, math.log(max(loss, _SMALLEST))))
            s = self._s.get(task, 0.0)
            self._s[task] = s + self._rate * (least - s)

    def state(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"s": self._s}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        self._s = dict(state["s"])


class Progress:
    """More weight for tasks whose loss falls more slowly than that of others (Liu et al. 2019, "DWA").

    The pace of a task is its loss as a short average over that as a long one; weights are a softmax of paces divided
    by the temperature.
    """

    weighs_losses: ClassVar[bool] = True

    def __init__(self, options: Options) -> None:
        self._temperature, self._span = float(options["temperature"]), float(options["span"])
        self._short: dict[str, float] = {}
        self._long: dict[str, float] = {}

    def weights(self, tasks: Sequence[str]) -> dict[str, float]:
        """Softmax of paces, scaled to a mean of 1; of a task not seen before, as if it stood still."""
        paces = {task: self._pace(task) / self._temperature for task in tasks}
        return scaled(softmax(paces))

    def _pace(self, task: str) -> float:
        if task not in self._long:
            return 1.0
        return self._short[task] / max(self._long[task], _SMALLEST)

    def learn(self, losses: Mapping[str, float]) -> None:
        """Move the averages."""
        for task, loss in losses.items():
            for averages, span in ((self._short, self._span), (self._long, 4 * self._span)):
                before = averages.get(task, loss)
                averages[task] = before + (loss - before) / span

    def state(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"short": self._short, "long": self._long}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        self._short, self._long = dict(state["short"]), dict(state["long"])


def softmax(logits: Mapping[str, float]) -> dict[str, float]:
    """Shares that sum to 1."""
    most = max(logits.values(), default=0.0)
    powers = {task: math.exp(logit - most) for task, logit in logits.items()}
    total = sum(powers.values())
    return {task: power / total for task, power in powers.items()}
