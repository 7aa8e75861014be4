"""A task as a user of the library declares it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from ofacore.config.task_section import TaskConfig
from ofacore.config.validation import explained
from ofacore.ground.errors import UserError


class TaskError(UserError):
    """A task is declared wrongly; the message names the task and the argument."""


class Task:
    """One task: a name, an instruction or a preset, and data.

    Args:
        name: How the task is called in tables, metrics and checkpoints; unique in a model.
        instruction: A template, several separated by ``|||``, or a list of templates or (template, weight) pairs.
        preset: Name of an installed preset, in place of or beside an instruction.
        train: Rows: a path, a list of dicts, a dataset; None takes the preset's starter data.
        valid: As ``train``.
        test: As ``train``.
        columns: Slot name -> column of the data, where they differ.
        options: Any further key of a task's configuration: ``metrics``, ``losses``, ``weight``, ``closed_sets`` ...

    Raises:
        TaskError: An option is unknown or has a bad value.

    Example:
        >>> Task("shout", "say it louder: [TEXT:a] -> [TEXT:b]", train=[{"a": "hello", "b": "HELLO"}]).name
        'shout'
    """

    def __init__(
        self,
        name: str,
        instruction: str | Sequence[str | tuple[str, float]] = (),
        *,
        preset: str = "",
        train: Any = None,
        valid: Any = None,
        test: Any = None,
        columns: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(name, str) or not name.strip() or "/" in name:
            raise TaskError(
                f"{name!r} is no name for a task: give text without '/', such as 'my-task'"
            )
        self.name = name
        further = options.pop("data", {})
        if not isinstance(further, Mapping):
            raise TaskError(
                f"task '{name}': data= takes settings such as {{'format': 'csv'}}; give rows as train="
            )
        data = {
            "train": train,
            "valid": valid,
            "test": test,
            "columns": dict(columns or {}),
            **further,
        }
        templates = instruction if isinstance(instruction, str) else tuple(instruction)
        values = {"preset": preset, "instruction": templates, "data": data, **options}
        try:
            self.config = TaskConfig.model_validate(values)
        except ValidationError as error:
            problems = explained(error, values, ("tasks", name))
            said = [str(replace(p, path=p.path.removeprefix(f"tasks.{name}."))) for p in problems]
            raise TaskError(f"task '{name}': " + "; and ".join(said)) from None
        if not templates and not preset:
            raise TaskError(
                f"task '{name}' needs an instruction or a preset, such as instruction='[TYPE:a] -> [TYPE:b]'"
            )

    def __repr__(self) -> str:
        return f"Task({self.name!r}, {self.config.instruction or self.config.preset!r})"
