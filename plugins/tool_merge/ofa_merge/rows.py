"""Rows that weights are chosen by and tasks are scored on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ofacore.ground.errors import UserError
from ofacore.plan.planned_run import PlannedRun
from ofacore.setup.datasets import TaskRows, rows_of


def open_rows(
    run: PlannedRun, names: Sequence[str], given: Mapping[str, Any] | None
) -> tuple[dict[str, TaskRows], dict[str, str]]:
    """Data of some tasks.

    Args:
        run: Their plans.
        names: The tasks.
        given: Task -> rows to choose weights by and to score on; default: those that the task names.

    Returns:
        Task -> its rows, and task -> why it has none.

    Raises:
        UserError: Rows that were given cannot be read, or are given for no task of the model.
    """
    stray = next((name for name in given or () if name not in names), None)
    if stray is not None:
        raise UserError(f"data: no task '{stray}' in these runs; there are {', '.join(names)}")
    found: dict[str, TaskRows] = {}
    lost: dict[str, str] = {}
    for name in names:
        if given and name in given:
            opened = rows_of(run, {}, [name], given, "test")[name]
            rows = opened.splits["test"]
            found[name] = TaskRows({"valid": rows, "test": rows})
            continue
        try:
            found |= rows_of(run, {}, [name], None, "test", training=True)
        except UserError as error:
            lost[name] = str(error)
    return found, lost
