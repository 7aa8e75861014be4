"""Checks of schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from ofa_kit.declaration import DeclarationChecks
from ofa_kit.modules import other_random_state
from ofacore.components.schedules import build_schedule
from ofacore.protocols import Options, ScheduleContext, TaskShare

LOOKED_AT = 50
MANY = 2000


class ScheduleConformance(DeclarationChecks):
    """Checks of one schedule.

    Attributes:
        schedule: Name of the schedule component.
        options: In place of the options that its component declares. Default: none.
        tasks: Task -> (rows, weight). Default: three tasks, ``a``, ``b``, ``c``, of different sizes and weights.
        samples: Samples of a step. Default: 24.
        shares: Task -> expected share of all samples over many steps. Default: not checked.
        tolerance: Largest difference of a share. Default: 0.02.
    """

    schedule: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Any]] = {}
    tasks: ClassVar[Mapping[str, tuple[int, float]]] = {
        "a": (1000, 1.0),
        "b": (100, 1.0),
        "c": (10, 2.0),
    }
    samples: ClassVar[int] = 24
    shares: ClassVar[Mapping[str, float]] = {}
    tolerance: ClassVar[float] = 0.02

    def test_is_pure_in_seed_and_step(self) -> None:
        """A step's counts do not depend on what was asked before, nor on global random state."""
        schedule = self._new()
        forward = [schedule.counts(step) for step in range(LOOKED_AT)]
        backward = [schedule.counts(step) for step in reversed(range(LOOKED_AT))][::-1]
        with other_random_state(1):
            fresh = [self._new().counts(step) for step in range(LOOKED_AT)]
        wrong = next(
            (i for i in range(LOOKED_AT) if not forward[i] == backward[i] == fresh[i]), None
        )
        assert wrong is None, (
            f"step {wrong}: counts are {forward[wrong or 0]}, asked again in another order "
            f"{backward[wrong or 0]}, of a new schedule {fresh[wrong or 0]}. counts(step) must be "
            "pure: draw from np.random.Generator(np.random.Philox(key=[seed, step])) and keep no "
            "counter, so that resuming a run gives the same steps"
        )

    def test_counts_sum_to_the_samples(self) -> None:
        """Every step has as many samples as configured."""
        for samples in (self.samples, len(self.tasks), 1):
            schedule = self._new(samples)
            for step in range(LOOKED_AT):
                counts = schedule.counts(step)
                assert sum(counts.values()) == samples, (
                    f"step {step}: {counts} are {sum(counts.values())} samples, not {samples}; "
                    "give what rounding leaves over to the largest remainders"
                )
                wrong = {
                    n: c
                    for n, c in counts.items()
                    if isinstance(c, bool) or not isinstance(c, int) or c < 0
                }
                assert not wrong, (
                    f"step {step}: {wrong} are no whole numbers from 0; convert them by int(...)"
                )

    def test_names_known_tasks_alone(self) -> None:
        """Only tasks it was given, and none without rows or weight."""
        given = {**self.tasks, "empty": (0, 1.0), "off": (50, 0.0)}
        schedule = self._new(tasks=given)
        for step in range(LOOKED_AT):
            drawn = {name for name, count in schedule.counts(step).items() if count}
            assert drawn <= set(given), (
                f"step {step}: {drawn - set(given)} are no tasks of this run; draw from `tasks`"
            )
            assert not drawn & {"empty", "off"}, (
                f"step {step} draws from {drawn & {'empty', 'off'}}, a task without rows or of weight 0; leave such "
                "tasks out"
            )

    def test_copes_with_a_single_task(self) -> None:
        """A run of one task draws every sample from it."""
        name, share = next(iter(self.tasks.items()))
        declared = self.component("schedule", self.schedule).options
        counts = self._new(tasks={name: share}, options=declared).counts(0)
        assert {n: c for n, c in counts.items() if c} == {name: self.samples}, (
            f"of the single task '{name}': {counts}"
        )

    def test_no_task_starves(self) -> None:
        """Over many steps every task with rows and weight is drawn."""
        totals = self._totals()
        starved = [name for name in self.tasks if not totals.get(name)]
        assert not starved, (
            f"{starved} are never drawn in {MANY} steps; every task with rows and weight must have its turn"
        )

    def test_keeps_its_shares(self) -> None:
        """Over many steps the shares are those that were promised."""
        if not self.shares:
            pytest.skip("set shares = {task: share} to check them")
        totals = self._totals()
        everything = sum(totals.values())
        for name, share in self.shares.items():
            found = totals.get(name, 0) / everything
            assert abs(found - share) <= self.tolerance, (
                f"task '{name}' gets {found:.3f} of the samples over {MANY} steps, not "
                f"{share:.3f}: correct the weights, or `shares` in the suite"
            )

    def test_can_be_built_from_declared_options(self) -> None:
        """The options of the component are those that the class takes."""
        declared = self.component("schedule", self.schedule).options
        unknown = sorted(set(self.options) - set(declared))
        assert not unknown, (
            f"options {unknown} are not declared: add them with defaults to Component(options={{...}})"
        )

    @pytest.mark.dist
    def test_is_equal_on_every_rank(self, run_distributed: Callable[..., Any]) -> None:
        """Every rank works out the same counts by itself."""
        factory = self.closed_registry().load(
            "schedule", self.component("schedule", self.schedule).name
        )
        arguments = (
            factory,
            dict(self.tasks),
            self.samples,
            self._options(),
            range(0, MANY, MANY // LOOKED_AT),
        )
        here, there = counts_of(*arguments), run_distributed(counts_of, 2, *arguments)
        assert all(found == here for found in there), (
            "ranks work out different counts: use nothing but seed and step, no hash() of texts (it differs between "
            "processes), no order of sets, no rank"
        )

    def _options(self) -> dict[str, Any]:
        return {**self.component("schedule", self.schedule).options, **self.options}

    def _new(
        self,
        samples: int = 0,
        tasks: Mapping[str, tuple[int, float]] | None = None,
        options: Options | None = None,
    ) -> Any:
        factory = self.closed_registry().load(
            "schedule", self.component("schedule", self.schedule).name
        )
        given = self.tasks if tasks is None else tasks
        chosen = self._options() if options is None else options
        return build(factory, given, samples or self.samples, chosen)

    def _totals(self) -> dict[str, int]:
        schedule, totals = self._new(), dict[str, int]()
        for step in range(MANY):
            for name, count in schedule.counts(step).items():
                totals[name] = totals.get(name, 0) + count
        return totals


def build(
    factory: Any, tasks: Mapping[str, tuple[int, float]], samples: int, options: Options
) -> Any:
    """A schedule of some tasks, with seed 1, for a run of `MANY` steps."""
    shares = {name: TaskShare(*share) for name, share in tasks.items()}
    return build_schedule(factory, shares, samples, 1, options, ScheduleContext(MANY))


def counts_of(
    factory: Any,
    tasks: Mapping[str, tuple[int, float]],
    samples: int,
    options: Options,
    steps: Sequence[int],
) -> list[dict[str, int]]:
    """Counts of some steps."""
    schedule = build(factory, tasks, samples, options)
    return [dict(schedule.counts(step)) for step in steps]
