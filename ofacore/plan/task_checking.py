"""The check of one task of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ofacore.config.closed_values import is_misfit, quoted
from ofacore.config.problems import Problem
from ofacore.config.task_section import TaskConfig
from ofacore.ground.addresses import address_problem
from ofacore.ground.excerpts import excerpt, listing
from ofacore.ground.patterns import is_remote, named_files
from ofacore.instruction import InstructionError, split_templates
from ofacore.plan.compile import compile_instruction
from ofacore.plan.lookups import (
    begins_with,
    delimiter_of,
    needed_columns,
    option_problems,
    unknown,
    unknown_slot,
)
from ofacore.plan.planned_run import PlanFailure
from ofacore.plan.types import TaskPlan, TemplatePlan
from ofacore.plugin import PluginError, Registry, SlotType, TaskPreset, suggest

_SPLITS = ("train", "valid", "test")
_NO_PRESET = TaskPreset("", ())
_WIDE = 8
"""Columns of a table that may be meant as one object."""


class TaskCheck:
    """Finds everything that is wrong with a task."""

    def __init__(
        self,
        name: str,
        config: TaskConfig,
        registry: Registry,
        attempt: TaskPlan | PlanFailure,
        columns: Callable[[str, str], Iterable[str]] | None = None,
    ) -> None:
        self._name, self._config, self._registry, self._columns = name, config, registry, columns
        self._attempt = attempt
        self._path = f"tasks.{name}"
        self._preset = _NO_PRESET
        self._templates: list[TemplatePlan] = []

    def problems(self) -> list[Problem]:
        """All problems; what the preset settles is not held against the task twice."""
        wrong = self._of_preset()
        if wrong:
            return [*wrong, *self._files()]
        found = [
            *self._instructions(),
            *self._uses(),
            *self._slots(),
            *self._transforms(),
            *self._files(),
        ]
        if not found:
            found += [*self._as_a_whole(), *self._missing_columns()]
        return found

    def _of_preset(self) -> list[Problem]:
        if not self._config.preset:
            example = "such as preset: name, or instruction: '[TYPE:a] -> [TYPE:b]'"
            return (
                []
                if self._config.instruction
                else [Problem(self._path, "no preset and no instruction", hint=example)]
            )
        wrong = unknown(f"{self._path}.preset", "preset", self._config.preset, self._registry)
        if not wrong:
            self._preset = self._registry.preset(self._config.preset)
        return wrong

    def _instructions(self) -> list[Problem]:
        found = []
        for path, text in self._texts():
            try:
                for template in split_templates(text):
                    self._templates.append(compile_instruction(template, self._registry))
            except InstructionError as error:
                found.append(Problem(path, f"this instruction cannot be used:\n{error}"))
            except PluginError as error:
                found.append(Problem(path, str(error)))
        return found

    def _texts(self) -> Iterator[tuple[str, str]]:
        given = self._config.instruction
        if isinstance(given, str):
            yield f"{self._path}.instruction", given
            return
        for number, entry in enumerate(given or self._preset.instructions):
            path = f"{self._path}.instruction.{number}" if given else f"{self._path}.preset"
            yield path, entry if isinstance(entry, str) else entry[0]

    def _uses(self) -> Iterator[Problem]:
        """Metrics and losses: the component, its options, its slots."""
        for number, metric in enumerate(self._config.metrics):
            path = f"{self._path}.metrics.{number}"
            yield from self._use(path, "metric", metric.metric, metric.options)
            yield from self._slot(f"{path}.slot", metric.slot, judged=True)
        for number, loss in enumerate(self._config.losses):
            path = f"{self._path}.losses.{number}"
            yield from self._use(path, "criterion", loss.criterion, loss.options)
            if loss.head:
                yield from unknown(f"{path}.head", "head", loss.head, self._registry)
            yield from self._slot(f"{path}.hidden", loss.hidden)
            yield from self._slot(f"{path}.labels", loss.labels) if loss.labels else ()

    def _use(self, path: str, kind: str, name: str, options: Mapping[str, Any]) -> list[Problem]:
        wrong = unknown(f"{path}.{kind}", kind, name, self._registry)
        return wrong or option_problems(f"{path}.options", kind, name, options, self._registry)

    def _slots(self) -> Iterator[Problem]:
        config = self._config
        metrics = config.metrics or self._preset.metrics
        references = {metric.references for metric in metrics}
        for name in config.data.columns:
            if name not in references:
                yield from self._slot(f"{self._path}.data.columns.{name}", name)
        if config.prompt_slot:
            yield from self._slot(f"{self._path}.prompt_slot", config.prompt_slot)
        for slot, values in config.closed_sets.items():
            path = f"{self._path}.closed_sets.{slot}"
            yield from self._slot(path, slot, targets=True) or self._closed_set(path, slot, values)
        for slot in config.class_weights:
            yield from self._slot(f"{self._path}.class_weights.{slot}", slot, targets=True)

    def _slot(
        self, path: str, slot: str, targets: bool = False, judged: bool = False
    ) -> list[Problem]:
        """``targets``: it must be a target slot; ``judged``: or a side of a contrast."""
        if not self._templates:
            return []
        plans = [
            plan
            for template in self._templates
            for plan in template.slots.values()
            if plan.plain is None
        ]
        names = [plan.name for plan in plans if plan.side == "target" or not (targets or judged)]
        contrasts = [
            template.contrast for template in self._templates if template.contrast is not None
        ]
        for contrast in contrasts if judged else ():
            names += [contrast.left.name, contrast.right.name]
        return unknown_slot(path, slot, names)

    def _closed_set(self, path: str, name: str, values: Any) -> list[Problem]:
        """Members that the type of the slot does not know, or a set that no slot asks for."""
        slots = [
            plan for template in self._templates for plan in template.targets() if plan.name == name
        ]
        types = [self._registry.slot(slot.type) for slot in slots]
        found = (
            _absent(path, values)
            if isinstance(values, str)
            else list(_misfits(path, values, types))
        )
        may_choose = any(
            attribute.name == "closed_set" for kind in types for attribute in kind.attributes
        )
        if (
            may_choose
            and not found
            and not any(slot.attributes.get("closed_set") for slot in slots)
        ):
            hint = f"write [{slots[0].type}:{name},closed_set] in the instruction, or take the values out"
            found.append(Problem(path, f"slot '{name}' takes any value", hint=hint))
        return found

    def _transforms(self) -> Iterator[Problem]:
        for column, names in self._config.data.transforms.items():
            for number, name in enumerate(names):
                path = f"{self._path}.data.transforms.{column}.{number}"
                yield from unknown(path, "transform", name, self._registry)
        for name, options in self._config.data.row_transforms.items():
            path = f"{self._path}.data.row_transforms.{name}"
            wrong = unknown(path, "row_transform", name, self._registry)
            yield from wrong or option_problems(
                path, "row_transform", name, options, self._registry
            )

    def _files(self) -> Iterator[Problem]:
        data, path = self._config.data, f"{self._path}.data"
        settled = bool(self._preset.instructions or self._config.instruction)
        if data.train is None and settled and not self._preset.data:
            yield Problem(
                f"{path}.train",
                "no training data are given",
                hint="give a file, a folder or a dataset",
            )
        if not data.header and not data.names:
            yield Problem(
                f"{path}.names",
                "without a header the columns need names",
                hint="names: [first, second]",
            )
        if data.header and data.names:
            yield Problem(
                f"{path}.names",
                "the first line names the columns",
                hint="header: false if it is data",
            )
        for split in _SPLITS:
            yield from (
                _absent(f"{path}.{split}", getattr(data, split)) if data.format != "hf" else ()
            )

    def _as_a_whole(self) -> list[Problem]:
        if isinstance(self._attempt, TaskPlan):
            return self._smoothing(self._attempt)
        return [Problem(self._path, f"this task cannot be planned:\n{self._attempt}")]

    def _smoothing(self, plan: TaskPlan) -> list[Problem]:
        """A label smoothing that none of the task's losses has."""
        names = [slot.criterion for slot in plan.slots() if slot.loss and not plan.losses]
        names += [loss.criterion for loss in plan.all_losses()]
        known = [self._registry.component("criterion", name).options for name in names]
        if plan.label_smoothing is None or any("label_smoothing" in options for options in known):
            return []
        told = ", ".join(dict.fromkeys(names))
        message = f"no loss of this task smooths labels ({told})"
        return [Problem(f"{self._path}.label_smoothing", message, hint="take it out")]

    def _missing_columns(self) -> Iterator[Problem]:
        for split in _SPLITS if self._columns else ():
            if getattr(self._config.data, split) is None:
                continue
            there = list(self._columns(self._name, split))  # type: ignore[misc]
            for slot in self._needed() if there else ():
                column = self._config.data.columns.get(slot, slot)
                if not begins_with(column, there):
                    if mark := delimiter_of(there, column):
                        message = f"no column '{column}', but a single one, {excerpt(there[0])}"
                        yield Problem(
                            f"{self._path}.data.{split}",
                            message,
                            hint=f"set data.delimiter: {mark}",
                        )
                        break
                    near = suggest(column, there)
                    hint = f"{near} " if near else f"there are: {listing(there)}; "
                    hint += f"data.columns: {{{slot}: NAME}} reads another one"
                    if len(there) >= _WIDE:
                        hint += ", '*' an object of all that nothing else reads"
                    yield Problem(
                        f"{self._path}.data.{split}",
                        f"slot '{slot}' reads column '{column}', which is missing",
                        hint=hint,
                    )

    def _needed(self) -> tuple[str, ...]:
        """Slots that a value is needed for in every row."""
        names = [
            name
            for template in self._templates
            for name in needed_columns(template, self._registry)
        ]
        return tuple(dict.fromkeys(names))


def _misfits(path: str, values: Any, types: Sequence[SlotType]) -> Iterator[Problem]:
    if not isinstance(values, Sequence):
        return
    for number, value in enumerate(values):
        kind = next((kind for kind in types if is_misfit(value, kind.is_element)), None)
        if kind is not None:
            yield Problem(
                f"{path}.{number}", f"found {value!r}, expected {kind.values}", hint=quoted(value)
            )


def _absent(path: str, spec: Any) -> list[Problem]:
    """One problem for each file that is named and does not exist."""
    if isinstance(spec, str | Path):
        if is_remote(str(spec)):
            problem = address_problem(str(spec))
            return [Problem(path, problem)] if problem else []
        missing = named_files(str(spec))[1]
        if not missing:
            return []
        file = Path(missing[0])
        near = (
            suggest(file.name, (other.name for other in file.parent.iterdir()))
            if file.parent.is_dir()
            else ""
        )
        return [Problem(path, f"no file {file}", hint=near)]
    if isinstance(spec, list | tuple) and all(isinstance(part, str | Path) for part in spec):
        return [
            problem
            for number, part in enumerate(spec)
            for problem in _absent(f"{path}.{number}", part)
        ]
    return []
