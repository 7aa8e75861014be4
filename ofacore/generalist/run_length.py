"""How many steps a run has, where it is said in passes over the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from ofacore.config.problems import ConfigError, Problem
from ofacore.config.train_section import TrainConfig
from ofacore.generalist.fitting import schedule, shares
from ofacore.plugin import suggest
from ofacore.protocols import Schedule, TaskShare

if TYPE_CHECKING:
    from ofacore.generalist.facade import Generalist

_IDLE = 100_000
"""Steps without a sample of a task after which it is taken to have none."""


def settle_steps(generalist: Generalist) -> None:
    """Say ``train.epochs``, if it is set, in ``train.steps`` of the model's configuration.

    Raises:
        ConfigError: It names a task that is not trained, or that the schedule never takes samples from.
    """
    config = generalist.assembly.config
    if config.train.epochs is None:
        return
    made = partial(schedule, generalist, length_known=False)
    train = in_steps(config.train, shares(generalist), made)
    generalist.assembly.config = config.model_copy(update={"train": train})


def in_steps(
    train: TrainConfig, tasks: Mapping[str, TaskShare], made: Callable[[], Schedule]
) -> TrainConfig:
    """The training section with ``epochs``, if it is set, said in ``steps``.

    Args:
        train: The section.
        tasks: Those that are trained.
        made: Gives their schedule, where passes over single tasks are asked for.

    Raises:
        ConfigError: As `settle_steps`.
    """
    if train.epochs is None:
        return train
    steps = _steps(train.epochs, train.samples, tasks, made)
    return train.model_copy(update={"steps": steps, "epochs": None})


def _steps(
    epochs: float | Mapping[str, float],
    samples: int,
    tasks: Mapping[str, TaskShare],
    made: Callable[[], Schedule],
) -> int:
    if not isinstance(epochs, Mapping):
        rows = sum(share.rows for share in tasks.values())
        return math.ceil(round(epochs * rows / samples, 9))
    wanted: dict[str, int] = {}
    for name, passes in epochs.items():
        if name not in tasks:
            hint = suggest(name, tasks) or f"there are {', '.join(tasks)}"
            raise ConfigError(
                [Problem(f"train.epochs.{name}", "no such task is trained", hint=hint)]
            )
        wanted[name] = math.ceil(round(passes * tasks[name].rows, 9))
    return _until(made(), wanted)


def _until(schedule: Schedule, wanted: Mapping[str, int]) -> int:
    """Steps until a schedule has taken so many samples of each task."""
    missing = {name: number for name, number in wanted.items() if number > 0}
    step = idle = 0
    while missing:
        counts = schedule.counts(step)
        step += 1
        taken = {name: counts.get(name, 0) for name in missing}
        idle = 0 if any(taken.values()) else idle + 1
        if idle > _IDLE:
            name = next(iter(missing))
            message = f"the schedule takes no samples of it from step {step - idle} on"
            raise ConfigError([Problem(f"train.epochs.{name}", message)])
        left = {name: number - taken[name] for name, number in missing.items()}
        missing = {name: number for name, number in left.items() if number > 0}
    return step
