"""What a plan takes from the training data once, to be stored with the model: weights of classes, turns of repeats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ofacore.config.closed_values import plain_value
from ofacore.config.problems import ConfigError, Problem
from ofacore.encoding.filling import is_list
from ofacore.ground.excerpts import excerpt, listing
from ofacore.plan import TaskPlan
from ofacore.plugin import Registry, suggest
from ofacore.protocols import SlotPlan
from ofacore.setup.closed_sets import CLOSED_SET_LIMIT, values_of
from ofacore.setup.datasets import TaskRows, is_sampled, sampled_rows

LOOKED_AT = 20_000
"""Training rows that turns are counted in; classes are counted in those that closed sets are taken from."""
BALANCED = "balanced"


def with_facts(plan: TaskPlan, data: TaskRows, registry: Registry) -> TaskPlan:
    """The plan with the turns of its repeats counted and its balanced classes weighed.

    Raises:
        ConfigError: Weights name a value that no training row has.
    """
    learned = {slot.name: slot for slot in plan.slots() if slot.loss and slot.side == "target"}
    wanted = {
        name: slot for name, slot in learned.items() if slot.repeat or name in plan.class_weights
    }
    tests = {name: registry.slot(slot.type).is_element for name, slot in wanted.items()}
    turns, counts = 0, {name: Counter[str]() for name in plan.class_weights}
    most = CLOSED_SET_LIMIT if plan.class_weights else LOOKED_AT
    for row in sampled_rows(plan, data, registry, most) if wanted else ():
        for name, slot in wanted.items():
            value = row.get(name)
            if slot.repeat:
                turns = max(turns, _longest(value, tests[name]))
            if name in counts:
                counts[name].update(_texts(value, slot, tests[name]))
    if not is_sampled(data.train, most):
        _check_values(plan, counts)
    weights = {name: _weights(plan, name, counts[name]) for name in plan.class_weights}
    return replace(plan, turns=turns, class_weights=weights)


def facts_of(plan: TaskPlan) -> dict[str, Any]:
    """What is stored of them, JSON-ready; nothing of what there is nothing to tell of."""
    facts: dict[str, Any] = {
        "turns": plan.turns,
        "class_weights": {name: dict(weights) for name, weights in plan.class_weights.items()},  # type: ignore[arg-type]
    }
    return {name: fact for name, fact in facts.items() if fact}


def with_stored_facts(plan: TaskPlan, facts: Mapping[str, Any]) -> TaskPlan:
    """The plan with what `facts_of` gave."""
    return replace(plan, **facts)


def _longest(value: Any, is_element: Callable[[Any], bool]) -> int:
    """Most turns that a value gives to a repeat, at any depth."""
    if value is None or is_element(value) or not is_list(value):
        return 0
    return max([len(value), *(_longest(part, is_element) for part in value)])


def _texts(value: Any, slot: SlotPlan, is_element: Callable[[Any], bool]) -> Iterator[str]:
    for part in values_of(value, slot, is_element):
        yield str(plain_value(part))


def _weights(plan: TaskPlan, name: str, counts: Counter[str]) -> dict[str, float]:
    """Value -> factor. Balanced ones are n / (k * n_value), so that their mean over the rows is 1.

    As `sklearn.utils.class_weight.compute_class_weight` has it (King and Zeng 2001).
    """
    given = plan.class_weights[name]
    if not isinstance(given, Mapping):
        total = counts.total()
        return {value: total / (len(counts) * count) for value, count in sorted(counts.items())}
    return {value: float(factor) for value, factor in given.items()}


def _check_values(plan: TaskPlan, counts: Mapping[str, Counter[str]]) -> None:
    """Values that weights are given for are those of rows, as far as there are any."""
    for name, given in plan.class_weights.items():
        known = counts[name]
        values = given if known and isinstance(given, Mapping) else ()
        unknown = next((value for value in values if value not in known), None)
        if unknown is not None:
            hint = suggest(unknown, known) or f"there are: {listing(sorted(known))}"
            message = f"no training row has the value {excerpt(unknown)}"
            place = f"tasks.{plan.name}.class_weights.{name}"
            raise ConfigError([Problem(place, message, hint=hint)])
