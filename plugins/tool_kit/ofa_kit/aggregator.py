"""Checks of aggregators: what makes one gradient of those of the tasks, or weighs their losses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from ofa_kit.declaration import DeclarationChecks
from ofa_kit.modules import other_random_state, random_states
from ofacore.training.step.aggregation import RunAggregator
from ofacore.training.training_errors import AggregatorError

STEPS = 6
SHARED = {"layer.weight": (4, 3), "layer.bias": (4,)}
"""Parameters in which every task has a part."""
Step = tuple[dict[str, float], dict[str, dict[str, Tensor]]]
"""Task -> loss; task -> name of a parameter -> gradient."""


class AggregatorConformance(DeclarationChecks):
    """Checks of one aggregator, on gradients of three tasks that share a layer; each has a head of its own besides.

    Attributes:
        aggregator: Name of the aggregator component.
        options: In place of the options that its component declares. Default: none.
        tolerance: Largest relative difference of a gradient that should be the same. Default: 1e-4.
    """

    aggregator: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Any]] = {}
    tolerance: ClassVar[float] = 1e-4

    def test_can_be_built_from_declared_options(self) -> None:
        """The options of the component are those that the class takes."""
        declared = self.component("aggregator", self.aggregator).options
        unknown = sorted(set(self.options) - set(declared))
        assert not unknown, (
            f"options {unknown} are not declared: add them with defaults to Component(options={{...}})"
        )
        self._new()

    def test_gives_gradients_of_the_parameters(self) -> None:
        """Finite gradients of trained parameters, each of the parameter's shape; weights are numbers from 0."""
        aggregator = self._new()
        for number in range(STEPS):
            self._result(aggregator, number, steps_of("abc")[number])

    def test_copes_with_a_single_task(self) -> None:
        """A step of one task has no conflict: every parameter of the task gets a gradient along the task's own."""
        losses, gradients = steps_of("a")[0]
        found = self._result(self._new(), 0, (losses, gradients))
        for name, own in gradients["a"].items():
            assert name in found, f"of a single task '{name}' gets no gradient; give the task's own"
            cosine = torch.cosine_similarity(found[name].flatten(), own.flatten(), dim=0)
            assert float(cosine) > 0.99, (
                f"of a single task '{name}' gets a gradient at a cosine of {float(cosine):.3f} to the task's own; "
                "there is nothing that it could be in conflict with"
            )

    def test_copes_with_tasks_that_learn_nothing(self) -> None:
        """Gradients of zeros, of one task and of all, are nothing that it divides by."""
        for silent in ("a", "abc"):
            losses, gradients = steps_of("abc")[0]
            for task in silent:
                gradients[task] = {n: torch.zeros_like(g) for n, g in gradients[task].items()}
                losses[task] = 0.0
            self._result(self._new(), 0, (losses, gradients))

    def test_tasks_may_come_and_go(self) -> None:
        """A step need not have the tasks of the one before it."""
        aggregator = self._new()
        for number, tasks in enumerate(("ab", "c", "abc", "bc")):
            self._result(aggregator, number, steps_of(tasks)[number])

    def test_is_the_same_for_the_same_steps(self) -> None:
        """Every process works out the same by itself, so nothing but the steps and ``ctx.rng`` decides."""
        before = random_states()
        first = self._run(self._new(), range(STEPS))
        touched = before != random_states()
        with other_random_state(3):
            again = self._run(self._new(), range(STEPS))
        assert not touched, "global random numbers were drawn: draw every number from ctx.rng"
        self._compare(first, again, "the same steps give another gradient: draw from ctx.rng alone")

    def test_leaves_parameters_alone(self) -> None:
        """The optimiser updates parameters; an aggregator looks at them."""
        aggregator, parameters = self._runner(self._new()), values_of("abc")
        kept = {name: value.clone() for name, value in parameters.items()}
        if not aggregator.weighs_losses:
            aggregator(0, *steps_of("abc")[0], parameters)
        changed = [n for n, value in parameters.items() if not torch.equal(value, kept[n])]
        assert not changed, f"it changed the parameters {changed}; return gradients of them instead"

    def test_goes_on_as_it_was(self) -> None:
        """What a checkpoint keeps of it is JSON, and all that it needs to go on with the same gradients."""
        one = self._new()
        self._run(one, range(STEPS // 2))
        state = self._runner(one).state()
        try:
            kept = json.loads(json.dumps(state))
        except TypeError as error:
            pytest.fail(
                f"state() gives what JSON cannot hold ({error}): give numbers, texts, lists and mappings",
                pytrace=False,
            )
        other = self._new()
        self._runner(other).load_state(kept)
        rest = range(STEPS // 2, STEPS)
        self._compare(
            self._run(one, rest),
            self._run(other, rest),
            "after load_state(state()) it goes on otherwise: put all that it learns into state()",
        )

    @pytest.mark.dist
    def test_is_equal_on_every_rank(self, run_distributed: Callable[..., Any]) -> None:
        """Every rank makes the same gradient of the same ones of its tasks."""
        name = self.component("aggregator", self.aggregator).name
        factory = self.closed_registry().load("aggregator", name)
        here = results_of(factory, self._options(), range(STEPS))
        for there in run_distributed(results_of, 2, factory, self._options(), range(STEPS)):
            self._compare(here, there, "ranks make different gradients of the same ones")

    def _options(self) -> dict[str, Any]:
        return {**self.component("aggregator", self.aggregator).options, **self.options}

    def _new(self) -> Any:
        name = self.component("aggregator", self.aggregator).name
        return self.closed_registry().load("aggregator", name)(self._options())

    def _runner(self, aggregator: Any) -> RunAggregator:
        return RunAggregator(aggregator, f"aggregator '{self.aggregator}'", 1, self.aggregator)

    def _run(self, aggregator: Any, numbers: Sequence[int]) -> list[dict[str, Tensor]]:
        every = steps_of("abc")
        return [self._result(aggregator, number, every[number]) for number in numbers]

    def _result(self, aggregator: Any, number: int, step: Step) -> dict[str, Tensor]:
        try:
            return result_of(self._runner(aggregator), number, step)
        except AggregatorError as error:
            pytest.fail(f"{error}; see ofacore.protocols.Aggregator", pytrace=False)

    def _compare(
        self, one: Sequence[Mapping[str, Tensor]], other: Sequence[Mapping[str, Tensor]], told: str
    ) -> None:
        for number, (expected, found) in enumerate(zip(one, other, strict=True)):
            assert expected.keys() == found.keys(), f"step {number}: {told}"
            for name, gradient in expected.items():
                largest = float(gradient.abs().max())
                away = float((gradient - found[name]).abs().max())
                assert away <= self.tolerance * max(largest, 1e-6), (
                    f"step {number}, '{name}': {told} (a difference of {away:.2g})"
                )


def steps_of(tasks: str) -> list[Step]:
    """Losses and gradients of some steps; those of tasks are in conflict here and there."""
    rng = np.random.default_rng(5)
    found: list[Step] = []
    for number in range(STEPS):
        losses, gradients = dict[str, float](), dict[str, dict[str, Tensor]]()
        for task in "abc":
            shapes = {**SHARED, f"head.{task}": (2, 4)}
            own = {n: torch.from_numpy(rng.normal(size=s)).float() for n, s in shapes.items()}
            loss = float(rng.uniform(0.5, 2.0)) / (1 + number)
            if task in tasks:
                losses[task], gradients[task] = loss, own
        found.append((losses, gradients))
    return found


def values_of(tasks: str) -> dict[str, Tensor]:
    """Name -> values of all parameters of some tasks."""
    shapes = {**SHARED, **{f"head.{task}": (2, 4) for task in tasks}}
    return {name: torch.ones(shape) for name, shape in shapes.items()}


def result_of(runner: RunAggregator, number: int, step: Step) -> dict[str, Tensor]:
    """The gradient of a step; where losses are weighed, that of the weighed sum."""
    losses, gradients = step
    if not runner.weighs_losses:
        own = {task: dict(each) for task, each in gradients.items()}
        return dict(runner(number, losses, own, values_of("abc")))
    weights, found = runner.weights(number, sorted(losses)), dict[str, Tensor]()
    for task, each in gradients.items():
        for name, gradient in each.items():
            part = gradient * weights.get(task, 1.0)
            found[name] = found[name] + part if name in found else part
    runner.learn(number, losses)
    return found


def results_of(
    factory: Any, options: Mapping[str, Any], numbers: Sequence[int]
) -> list[dict[str, Tensor]]:
    """Gradients of some steps of three tasks."""
    runner, every = RunAggregator(factory(options), "the aggregator", 1), steps_of("abc")
    return [result_of(runner, number, every[number]) for number in numbers]
