"""How many samples of each task a step holds. Every schedule is a pure function of (seed, step).

All share one constructor, ``cls(tasks, samples, seed, options, context)``, and the counts of every step sum to
``samples``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

import numpy as np

from ofacore.ground.errors import UserError
from ofacore.ground.scattered import scattered
from ofacore.plugin import suggest
from ofacore.protocols import Schedule, ScheduleContext, TaskShare


class ScheduleError(UserError):
    """A schedule's options do not fit the tasks."""


class _Base:
    """Keeps what every schedule gets, and refuses tasks that leave nothing to draw from."""

    def __init__(
        self,
        tasks: Mapping[str, TaskShare],
        samples: int,
        seed: int,
        options: Mapping[str, Any],
        context: ScheduleContext | None = None,
    ) -> None:
        self.context = context
        self.tasks = {
            name: share for name, share in tasks.items() if share.weight > 0 and share.rows > 0
        }
        self.samples, self.seed, self.options = samples, seed, dict(options)
        if not self.tasks:
            raise ScheduleError("no task has both rows and a positive weight: nothing to train on")
        if samples < 1:
            raise ScheduleError(f"a step of {samples} samples: set train.samples to 1 or more")
        for option in ("weights", "start", "until"):
            self._check_names(option)

    def _check_names(self, option: str) -> None:
        given = self.options.get(option)
        for name in given if isinstance(given, Mapping) else ():
            if name not in self.tasks:
                raise ScheduleError(
                    f"train.schedule.options.{option}: no task '{name}' to draw from. {suggest(name, self.tasks)}"
                )

    def weights(self, step: int) -> dict[str, float]:
        """Task -> weight, not yet normalised; tasks with 0 are left out."""
        return {name: share.weight for name, share in self.tasks.items()}


class _Fixed(_Base):
    """Counts by largest remainder: the same in every step that has the same weights."""

    def counts(self, step: int) -> dict[str, int]:
        return largest_remainder(self.weights(step), self.samples)


class _Drawn(_Base):
    """Counts drawn anew for each step from a multinomial distribution."""

    def counts(self, step: int) -> dict[str, int]:
        weights = {name: weight for name, weight in self.weights(step).items() if weight > 0}
        shares = np.array(list(weights.values()), dtype=np.float64)
        rng = np.random.Generator(np.random.Philox(key=[self.seed, step]))
        drawn = rng.multinomial(self.samples, shares / shares.sum())
        return {name: int(count) for name, count in zip(weights, drawn, strict=True) if count}


class All(_Fixed):
    """Every task in every step, by weight. Tasks of positive weight get at least one sample if there are enough."""


class Proportional(_Drawn):
    """By weight x rows: one epoch of every task takes equally long."""

    def weights(self, step: int) -> dict[str, float]:
        return {name: share.weight * share.rows for name, share in self.tasks.items()}


class Temperature(_Drawn):
    """By weight x rows^(1/T): T=1 is proportional, a large T is equal shares (Arivazhagan et al. 2019).

    Options:
        temperature: T, above 0; default 2.
    """

    def weights(self, step: int) -> dict[str, float]:
        temperature = float(self.options.get("temperature", 2.0))
        if temperature <= 0:
            raise ScheduleError(
                f"train.schedule.options.temperature={temperature}: must be above 0"
            )
        return {
            name: share.weight * share.rows ** (1 / temperature)
            for name, share in self.tasks.items()
        }


class ByWeights(_Drawn):
    """Drawn by weight alone.

    Options:
        weights: Task -> weight, in place of the tasks' own; tasks not named keep theirs.
    """

    def weights(self, step: int) -> dict[str, float]:
        given = self.options.get("weights") or {}
        found = {name: float(given.get(name, share.weight)) for name, share in self.tasks.items()}
        if not any(weight > 0 for weight in found.values()):
            raise ScheduleError(
                f"train.schedule.options.weights: nothing to draw from; give one of {', '.join(found)} more than 0"
            )
        return found


class RoundRobin(_Base):
    """One task a step, in turn; a task of weight 2 gets two steps of each round, spread over it."""

    def counts(self, step: int) -> dict[str, int]:
        order = self._round()
        return {order[step % len(order)]: self.samples}

    def _round(self) -> list[str]:
        least = min(share.weight for share in self.tasks.values())
        turns = {name: max(1, round(share.weight / least)) for name, share in self.tasks.items()}
        places = [((turn + 0.5) / n, name) for name, n in turns.items() for turn in range(n)]
        return [name for _, name in sorted(places)]


class Curriculum(_Fixed):
    """Tasks join and leave at steps of their own. A number between 0 and 1 is a share of the run's steps.

    Options:
        start: Task -> first step; default 0.
        until: Task -> step at which it leaves; default never.
        ramp: Steps over which a joining task's weight grows to its own; default 0.
    """

    def weights(self, step: int) -> dict[str, float]:
        start, until = self._steps("start"), self._steps("until")
        ramp = self._step("ramp", self.options.get("ramp", 0))
        active = {
            name: share.weight * min(1.0, (step - start.get(name, 0) + 1) / (ramp + 1))
            for name, share in self.tasks.items()
            if start.get(name, 0) <= step and (name not in until or step < until[name])
        }
        if not active:
            raise ScheduleError(
                f"train.schedule.options: no task is active at step {step}; move a start or until"
            )
        return active

    def _steps(self, option: str) -> dict[str, int]:
        given = self.options.get(option) or {}
        return {name: self._step(f"{option}.{name}", value) for name, value in given.items()}

    def _step(self, option: str, value: float) -> int:
        """A number of steps, written as such or as a share of the run.

        Raises:
            ScheduleError: It is neither.
        """
        place = f"train.schedule.options.{option}={value!r}"
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise ScheduleError(
                f"{place}: must be a number of steps, or a share of the run between 0 and 1"
            )
        if not 0 < value < 1:
            return int(value)
        if self.context is None:
            raise ScheduleError(
                f"{place}: a share of a run whose length is not known; give a number of steps"
            )
        return round(value * self.context.steps)


def build_schedule(
    build: Callable[..., Any],
    tasks: Mapping[str, TaskShare],
    samples: int,
    seed: int,
    options: Mapping[str, Any],
    context: ScheduleContext | None,
) -> Schedule:
    """A schedule, told of the run where its constructor has a parameter ``context``; None: its length is not known."""
    known = {"context": context} if "context" in signature(build).parameters else {}
    made: Schedule = build(tasks, samples, seed, options, **known)
    return made


def largest_remainder(weights: Mapping[str, float], samples: int) -> dict[str, int]:
    """Whole numbers in proportion to weights that sum to ``samples`` (Hamilton's method).

    Each positive weight gets at least 1 where there are enough samples; ties go to the earlier name in the mapping.
    """
    names = [name for name, weight in weights.items() if weight > 0]
    floor = 1 if samples >= len(names) else 0
    total = sum(weights[name] for name in names)
    quotas = {name: samples * (weights[name] / total) for name in names}
    counts = {name: max(floor, int(quotas[name])) for name in names}
    while (missing := samples - sum(counts.values())) != 0:
        sign = 1 if missing > 0 else -1
        open_names = [name for name in names if counts[name] + sign >= floor]
        counts[max(open_names, key=lambda name: sign * (quotas[name] - counts[name]))] += sign
    return {name: count for name, count in counts.items() if count}


def expected_shares(schedule: Schedule, steps: int, looked_at: int = 10_000) -> dict[str, float]:
    """Share of samples of each task over a run; at most ``looked_at`` steps are counted, see `scattered`."""
    totals: dict[str, int] = {}
    for step in scattered(max(1, steps), looked_at):
        for name, count in schedule.counts(step).items():
            totals[name] = totals.get(name, 0) + count
    everything = sum(totals.values())
    return {name: count / everything for name, count in totals.items()}
