"""A run from one line: an instruction and rows become the configuration that a user would write."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from pathlib import Path
from typing import Any

from ofacore.config.loading import ConfigText, read_data
from ofacore.config.schema import RunConfig
from ofacore.config.showing import show
from ofacore.encoding.columns import ColumnMap
from ofacore.encoding.slot_kinds import file_slots
from ofacore.ground.errors import UserError
from ofacore.ground.patterns import is_plain_path
from ofacore.plan import TemplatePlan, compile_instruction
from ofacore.plan.lookups import needed_columns
from ofacore.plugin import Registry
from ofacore.protocols import RowError, SlotPlan
from ofacore.setup.datasets import readable
from ofacore.sources import ListSource, Source, open_source
from ofacore.sources.folder import FILE_COLUMN, nearest
from ofacore.sources.named_splits import SAVED, named_splits

SHARE = 0.1
"""Of the rows that are held out for validation, and for the test, where the data have no such split."""
_LABEL = "label"


@dataclass(frozen=True)
class _Scale:
    """Model and length of a run for so many training rows."""

    rows: float
    """Up to so many."""
    model: Mapping[str, Any]
    samples: int
    epochs: float


_SCALES = (
    _Scale(1_000, {"preset": "starter", "hidden": 128, "ffn": 256}, 32, 40),
    _Scale(10_000, {"preset": "starter"}, 64, 20),
    _Scale(100_000, {"preset": "starter"}, 96, 6),
    _Scale(float("inf"), {"preset": "tiny"}, 128, 2),
)
_LEAST_STEPS, _MOST_STEPS = 200, 4_000
_STEPS, _EPOCHS = "train.steps=", "train.epochs="
_OPTIMISER: Mapping[str, Any] = {
    "optimizer": {
        "name": "muon",
        "lr": 1e-3,
        "muon_lr": 0.02,
        "weight_decay": 0.0,
        "clip": 1.0,
    },
    "lr": {"name": "wsd", "warmup": 0.1, "decay": 0.25},
}
"""How the weights of a run are learned, in the train section."""
_LEAST_ROWS = 3
"""Training rows without which nothing is started."""
_LOOKED_AT = 200
"""Rows whose values tell whether a slot holds numbers."""


@dataclass(frozen=True)
class OneLine:
    """A run that one line stands for."""

    config: ConfigText
    """As YAML, which trains the same run."""
    notes: tuple[str, ...]
    """What was chosen, for the user."""


def one_line(
    instruction: str,
    data: str,
    registry: Registry,
    *,
    resume: bool = False,
    numbered: bool = True,
    settings: Sequence[str] = (),
    joins: bool = False,
) -> OneLine:
    """The run of an instruction and its rows.

    Args:
        instruction: A template.
        data: A file, a folder with a table, a folder of class folders, one of folders or tables that are called
            ``train``, ``valid`` and ``test``, or a saved dataset of Hugging Face.
        registry: What is installed.
        resume: The run goes on, in the last folder of its name.
        numbered: The run folder is the next free one of its name; False: another is given.
        settings: Keys that are set beside the line, ``tasks.NAME.data.encoding=cp1252``: the rows are read by those of
            the data, which the configuration does not have; by ``train.steps=100`` or ``train.epochs=3`` goes how
            often a run validates.
        joins: The task joins a model, which has its sizes and its optimiser.

    Raises:
        InstructionError: It cannot be used; draws where.
        UserError: The data are not there, or cannot be opened.
    """
    template = compile_instruction(instruction, registry)
    if is_plain_path(data) and not Path(data).exists():
        raise UserError(f"no file or folder {data}{nearest(Path(data))}")
    splits = _splits(data)
    task = _name(template, registry)
    section: dict[str, Any] = dict(splits)
    prefix = f"tasks.{task}.data."
    asked = [text.removeprefix(prefix) for text in settings if text.startswith(prefix)]
    reading = read_data(asked)
    splits |= {name: "" for name in ("valid", "test") if getattr(reading, name) is not None}
    shares = {name: SHARE for name in ("valid", "test") if name not in splits}
    if shares:
        section["split"] = {"valid": 0.0, "test": 0.0, **shares}
    source = open_source(splits["train"], reading)
    if columns := _columns(source, template, registry):
        section["columns"] = columns
    rows = len(source)
    if rows < _LEAST_ROWS:
        told = "no rows" if not rows else f"{rows} row{'s' * (rows > 1)}"
        raise UserError(
            f"{splits['train']} has {told}: too few to learn from and to hold some out; give {_LEAST_ROWS} or more"
        )
    metrics = list(_metrics(template, registry, _Values(source, {**columns, **reading.columns})))
    scale = next(scale for scale in _SCALES if rows <= scale.rows)
    trained = rows * (1 - sum(shares.values()))
    steps = _steps(settings, trained / scale.samples, scale.epochs)
    name = _free_name(task, resume) if numbered else task
    entry: dict[str, Any] = {"instruction": instruction.strip(), "data": section}
    if metrics:
        entry["metrics"] = metrics
    training: dict[str, Any] = _training(steps, scale.samples)
    if _asked(settings, _EPOCHS):
        del training["steps"]
    if not joins:
        training |= _OPTIMISER
    values = {
        "name": name,
        "tasks": {task: entry},
        "model": {**scale.model, "dropout": 0.05, "tied_head": False},
        "train": training,
    }
    if joins:
        del values["model"]
    text = show(RunConfig.model_validate(values), defaults=False)
    return OneLine(ConfigText(text, "(one line)"), tuple(_notes(rows, shares, metrics, data)))


def _steps(settings: Sequence[str], passing: float, fitting: float) -> int:
    """Of the run: those that are set beside the line, by which it is validated and shown; else what fits the rows.

    Args:
        settings: Keys that are set beside the line.
        passing: Steps of one pass over the rows.
        fitting: Passes that fit so many rows.
    """
    steps, epochs = _asked(settings, _STEPS), _asked(settings, _EPOCHS)
    if steps.isdecimal():
        return int(steps)
    if _is_number(epochs):
        return max(1, ceil(round(passing * float(epochs), 9)))
    return min(_MOST_STEPS, max(_LEAST_STEPS, ceil(round(passing * fitting, 9))))


def _asked(settings: Sequence[str], key: str) -> str:
    """What a key is set to beside the line; empty if it is not."""
    found = [text.removeprefix(key).strip() for text in settings if text.startswith(key)]
    return found[-1] if found else ""


def _training(steps: int, samples: int) -> dict[str, Any]:
    return {
        "steps": steps,
        "samples": samples,
        "log_every": max(1, steps // 20),
        "checkpoint": {"every": max(1, ceil(steps / 4))},
        "validation": {"every": max(1, ceil(steps / 4)), "samples": 64},
    }


def _notes(
    rows: int, shares: Mapping[str, float], metrics: list[dict[str, str]], data: str
) -> Iterator[str]:
    if shares:
        parts = " and ".join(f"{share:.0%} {name}" for name, share in shares.items())
        yield f"{data}: {rows} rows, of which {parts} are held out by a hash of each row"
    for use in metrics:
        yield f"score: {use['metric']} of '{use['slot']}'"
    if not metrics:
        yield "score: none; --set 'tasks.NAME.metrics=[{metric: NAME, slot: SLOT}]' names one"


def _splits(data: str) -> dict[str, str]:
    """The splits that the data have by their names; else all rows, to learn from.

    Raises:
        UserError: It is a saved dataset without training rows.
    """
    found = named_splits(data)
    if "train" not in found and (Path(data) / SAVED).is_file():
        raise UserError(f"{data}: the dataset has no split 'train' to learn from")
    return found if "train" in found else {"train": data}


def _columns(source: Source, template: TemplatePlan, registry: Registry) -> dict[str, str]:
    """Of files sorted into folders: the slot that takes them, and the target that is the folder's name."""
    if not isinstance(source, ListSource) or set(source.columns) != {FILE_COLUMN, _LABEL}:
        return {}
    needed = needed_columns(template, registry)
    slots = [slot for slot in template.slots.values() if slot.name in needed]
    files = file_slots([slot for slot in slots if slot.side == "source"], registry)
    targets = [slot.name for slot in slots if slot.side == "target" and slot.loss]
    found = dict(zip(files, [FILE_COLUMN] * (len(files) == 1), strict=False))
    if len(targets) == 1:
        found[targets[0]] = _LABEL
    return {slot: column for slot, column in found.items() if slot != column}


@dataclass(frozen=True)
class _Values:
    """Values of the columns of some training rows."""

    source: Source
    columns: Mapping[str, str]
    """Slot -> column, where they differ."""

    def are_numbers(self, slot: str) -> bool:
        """Whether all of them are, of the rows that have one and can be read."""
        columns, known = ColumnMap(self.columns), []
        for _, row in readable(self.source, _LOOKED_AT):
            try:
                value = {} if isinstance(row, RowError) else columns.apply(row)
            except RowError:
                continue
            if value.get(slot) not in (None, ""):
                known.append(value[slot])
        return bool(known) and all(_is_number(value) for value in known)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    try:
        return isfinite(float(value))
    except ValueError:
        return False


def _metrics(
    template: TemplatePlan, registry: Registry, values: _Values
) -> Iterator[dict[str, str]]:
    """The default metric of each learned slot, if it is installed."""
    for slot in _learned(template):
        known = registry.slot(slot.type).default_metrics
        numbers = "numbers" in known and not slot.repeat and values.are_numbers(slot.name)
        if name := default_metric(slot, registry, numbers=numbers):
            yield {"metric": name, "slot": slot.name}


def default_metric(slot: SlotPlan, registry: Registry, *, numbers: bool = False) -> str:
    """What a slot is scored by where nobody says so; empty if nothing is installed.

    Args:
        slot: Its attributes and type decide, and whether it stands in a repeat.
        registry: What is installed.
        numbers: All values of its training rows are numbers.
    """
    known, installed = registry.slot(slot.type).default_metrics, registry.names("metric")
    facts = {key for key in known if key and slot.attributes.get(key)}
    if numbers:
        facts.add("numbers")
    if slot.repeat:
        facts = {"repeat"}
    fitting = [name for key, name in known.items() if key in facts or not (key or slot.repeat)]
    return next((name for name in fitting if name in installed), "")


def _learned(template: TemplatePlan) -> list[SlotPlan]:
    return [
        slot
        for slot in template.slots.values()
        if slot.side == "target" and slot.loss and slot.plain is None
    ]


def _name(template: TemplatePlan, registry: Registry) -> str:
    """Of the task: by what is learned."""
    names = [slot.name for slot in _learned(template)] or list(needed_columns(template, registry))
    text = re.sub(r"[^A-Za-z0-9]+", "_", "_".join(dict.fromkeys(names))).strip("_").lower()
    return text[:40] or "task"


def _free_name(name: str, resume: bool) -> str:
    """The next name whose run folder is not there; when resuming, the last one that is."""
    number = 1
    while Path("runs", _numbered(name, number)).exists():
        number += 1
    if resume:
        number = max(1, number - 1)
    return _numbered(name, number)


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"
