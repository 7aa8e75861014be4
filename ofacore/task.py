"""A task as a user of the library declares it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ofacore.config.schema import DataConfig, TaskConfig
from ofacore.errors import UserError


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
        self, name: str, instruction: str | Sequence[str | tuple[str, float]] = (), *, preset: str = "",
        train: Any = None, valid: Any = None, test: Any = None, columns: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:  # fmt: skip
        self.name = name
        data = {"train": train, "valid": valid, "test": test, "columns": dict(columns or {}), **options.pop("data", {})}
        templates = instruction if isinstance(instruction, str) else tuple(instruction)
        try:
            self.config = TaskConfig(
                preset=preset, instruction=templates, data=DataConfig(**data), **options
            )
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise TaskError(f"task '{name}', {place}: {first['msg']}") from None
        if not templates and not preset:
            raise TaskError(
                f"task '{name}' needs an instruction or a preset, such as instruction='[TYPE:a] -> [TYPE:b]'"
            )

    def __repr__(self) -> str:
        return f"Task({self.name!r}, {self.config.instruction or self.config.preset!r})"
