"""Training and scoring one model; whatever was done before is found and kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from ofa_retention.own_rules import with_own_rules
from ofa_retention.scoring import scored
from ofa_retention.stopwatch import Stopwatch
from ofa_retention.study import SPECIALISTS, TEACHERS, Shift
from ofa_retention.trainings import MODEL, Base, Training
from ofacore import Generalist
from ofacore.checkpoint import find_latest
from ofacore.checkpoint.durable import replace_json
from ofacore.config.schema import RunConfig
from ofacore.generalist.fitting import fit
from ofacore.generalist.storing import load
from ofacore.ground.json_files import read_object
from ofacore.ground.json_text import json_text
from ofacore.parallel.process import tune_process
from ofacore.plugin import UserError
from ofacore.setup.datasets import open_task, open_tasks, rows_of
from ofacore.training.optim.parameters import whole_names

TRAINED, RECIPE, SCORES = "training.json", "recipe.json", "scores"
"""What a folder holds besides weights: what training took, what it was asked, a file for each score."""
_SIDE = ("out", "name")
_SIDE_OF_TRAINING = ("checkpoint", "log_every", "trackers")
"""Settings that decide no figure."""


def work(training: Training) -> None:
    """Do what is left to do for one model.

    Raises:
        UserError: The folder holds a model of another recipe, or it cannot be trained.
    """
    check_recipe(training)
    generalist = None if is_trained(training) else _train(training)
    if training.model == TEACHERS:
        return
    for task in training.tasks:
        if wanted(training, task) is None:
            generalist = generalist or load(training.folder / MODEL, None)
            _score(generalist, training, task, None)
    for shift in training.shifts:
        if wanted(training, shift.task, shift) is None:
            generalist = generalist or load(training.folder / MODEL, None)
            _score(generalist, training, shift.task, shift)


def is_trained(training: Training) -> bool:
    """Whether nothing is left to train."""
    return (training.folder / TRAINED).is_file()


def taken(training: Training) -> dict[str, Any]:
    """What training took: steps, samples, seconds, parameters."""
    return read_object(training.folder / TRAINED)


def wanted(training: Training, task: str, shift: Shift | None = None) -> dict[str, Any] | None:
    """A score that is there whole, on the rows that are asked for."""
    file = _score_file(training, task, shift)
    if not file.is_file():
        return None
    found = read_object(file)
    source = shift.file if shift else ""
    return found if (found.get("most"), found.get("source")) == (training.rows, source) else None


def _score_file(training: Training, task: str, shift: Shift | None) -> Path:
    name = shift.label if shift else task
    return training.folder / SCORES / f"{quote(name, safe=' @')}.json"


def check_recipe(training: Training) -> None:
    """Note what the model is trained by, at its first start; later it must be the same.

    Raises:
        UserError: It differs; names the first setting that does.
    """
    file, recipe = training.folder / RECIPE, _recipe(training.config)
    if not file.is_file():
        training.folder.mkdir(parents=True, exist_ok=True)
        replace_json(file, recipe)
        return
    begun = _in_todays_keys(read_object(file))
    differing = next(_differences(begun, recipe, ""), None)
    if differing:
        raise UserError(
            f"'{training.folder}' was begun with other settings: {differing}; choose another folder "
            "with --out, or give the settings of before"
        )


def _recipe(config: RunConfig) -> dict[str, Any]:
    """What decides the figures, as JSON gives it back."""
    settings = config.model_dump(mode="json", exclude=set(_SIDE))
    for key in _SIDE_OF_TRAINING:
        settings["train"].pop(key)
    for teacher in settings["train"]["teachers"]:
        teacher.pop("model")  # it lies in the report's folder, wherever that is
    read: dict[str, Any] = json.loads(json_text(settings))
    return read


def _in_todays_keys(begun: dict[str, Any]) -> dict[str, Any]:
    """A recipe that an earlier version noted, with the defaults of keys that are newer than it."""
    try:
        return _recipe(RunConfig.model_validate(begun))
    except ValidationError:  # a key is gone since: the comparison says which
        return begun


def _differences(before: Any, now: Any, path: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            below = f"{path}.{key}" if path else str(key)
            yield from _differences(before.get(key), now.get(key), below)
    elif before != now:
        yield f"{path} was {before!r:.60} and is {now!r:.60}"


def _train(training: Training) -> Generalist:
    folder, config = training.folder, training.config
    tune_process(config.train.threads)
    begun = find_latest(folder) is not None
    if begun:
        generalist = load(folder, None)
        generalist.data = open_tasks(generalist.assembly.run)
    else:
        generalist = _untrained(training)
        if training.model in (SPECIALISTS, TEACHERS):
            whole, names = generalist.assembly.config, whole_names(generalist.model)
            generalist.assembly.config = with_own_rules(whole, names)
    watch = Stopwatch()
    fit(generalist, folder, resume=begun, callbacks=[watch], quiet=True)
    if watch.signal:
        raise SystemExit(128 + watch.signal)
    generalist.save(folder / MODEL)
    parameters = sum(parameter.numel() for parameter in generalist.model.parameters())
    replace_json(
        folder / TRAINED,
        {
            "steps": watch.steps,
            "samples": watch.samples,
            "seconds": watch.seconds,
            "parameters": parameters,
        },
    )
    if not training.keep:
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return generalist


def _untrained(training: Training) -> Generalist:
    """The model before its training, with its data."""
    if training.base is None:
        return Generalist.create(config=training.config)
    part = load(training.base.folder, None).only(training.tasks)
    recipe = {"train": training.config.train, "name": training.config.name}
    part.assembly.configure(part.assembly.config.model_copy(update=recipe), part.registry)
    part.data = open_tasks(part.assembly.run)
    return part


def make_base(base: Base) -> None:
    """Write the model that others are taken out of, unless it is there."""
    if not (base.folder / "COMPLETE").is_file():
        Generalist.create(config=base.config).save(base.folder)


def _score(generalist: Generalist, training: Training, task: str, shift: Shift | None) -> None:
    run = generalist.assembly.run
    if task not in generalist.data:
        plan, settings = run.plans[task], run.config.tasks[task]
        generalist.data[task] = open_task(plan, settings, run.registry)
    learned = data = generalist.data[task]
    if shift is not None:
        data = rows_of(run, {}, [task], {task: shift.file}, "test")[task]
    found = scored(generalist, task, data, learned, training.rows)
    source = shift.file if shift is not None else ""
    file = _score_file(training, task, shift)
    file.parent.mkdir(exist_ok=True)
    replace_json(file, {**found, "most": training.rows, "source": source})
