"""Whether rows that a user gives fit a task, found out before anything is generated."""

from __future__ import annotations

from typing import Any

from ofacore.batching.permutation import item_rng
from ofacore.encoding.encoder import Encoder
from ofacore.evaluation.embedded import sides
from ofacore.evaluation.references import is_absent
from ofacore.evaluation.scoring import reference_column
from ofacore.ground.errors import UserError
from ofacore.plugin import Registry, suggest
from ofacore.protocols import Metric, RowError
from ofacore.setup.datasets import readable
from ofacore.sources import Source
from ofacore.sources.data_errors import reason_at

LOOKED_AT = 20
"""Rows that are tried."""


def check_rows(source: Source, encoder: Encoder, registry: Registry) -> None:
    """Make sure that some of the rows can be answered and judged.

    Raises:
        UserError: None of those that are looked at has what the task needs; names the columns that are there.
    """
    plan = encoder.plan
    if not len(source):
        raise UserError(f"task '{plan.name}': the data given for it has no rows")
    read = [(i, row) for i, row in readable(source, LOOKED_AT)]
    rows = [row for _, row in read if not isinstance(row, RowError)]
    there = ", ".join(source.columns) or "none"
    filled = {name for row in rows for name in _filled(encoder, row)}
    for use in plan.metrics if sides(plan) is None else ():
        metric: Metric = registry.make("metric", use.metric, use.options)
        column = reference_column(metric, use)
        written = plan.columns.get(column, column)
        if column not in filled and written not in source.columns:
            hint = suggest(written, source.columns) or f"there are {there}"
            raise UserError(
                f"task '{plan.name}': metric '{use.metric}' needs the column '{written}', which the data lacks; {hint}"
            )
    problems = [_problem(source, encoder, index, row) for index, row in read]
    if sides(plan) is None and all(problems):
        raise UserError(
            f"task '{plan.name}': no row of the data can be answered: {problems[0]}; its columns are {there}"
        )


def _filled(encoder: Encoder, row: dict[str, Any]) -> list[str]:
    """Names that a row has values for, once its columns are mapped."""
    try:
        mapped = encoder.columns.apply(row)
    except RowError:
        return []
    return [name for name, value in mapped.items() if not is_absent(value)]


def _problem(source: Source, encoder: Encoder, index: int, row: Any) -> str:
    """Why a row cannot be answered; empty if it can."""
    name = source.name(index)
    try:
        if isinstance(row, RowError):
            raise row
        rng = item_rng(0, encoder.plan.name, 0, index)
        encoder.encode_request(row, rng=rng, row_id=name, split="test", guided=False)
    except RowError as error:
        return f"{name}: {reason_at(name, error)}"
    return ""
