"""From answered rows to what a metric is given: rows with a reference, and a word on every other one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ofacore.evaluation.references import Found, NoReference, Reference, TargetValues
from ofacore.evaluation.scoring import Judged, Row, reference_column, without_refused
from ofacore.ground.errors import UserError
from ofacore.plugin import MetricUse, Registry, suggest
from ofacore.protocols import Metric, RowContext, RowError, seen_as

_NAMED = 3
"""Rows that a notice names."""


@dataclass(frozen=True)
class Answered:
    """One held-out row with what was answered."""

    name: str
    """Where a user finds it."""
    raw: Row
    context: RowContext
    values: Row
    """Slot name -> decoded value."""
    baseline: Row | None = None
    """What a baseline answers, written as in the data."""
    mapped: Row | None = None
    """The row with columns mapped and transformed, where that has been done."""


@dataclass(frozen=True)
class LeftOut:
    """A row that a metric does not judge."""

    name: str
    column: str
    reason: str
    """Empty: the column holds nothing."""


@dataclass(frozen=True)
class Judging:
    """Answered rows of one task, of which each metric gets those that it can judge."""

    values: TargetValues
    rows: Sequence[Answered]
    registry: Registry
    baseline_docs: Mapping[str, str] = field(default_factory=dict)
    """Slot -> what its baseline does."""
    unusable: int = 0
    """Further rows of the split that could not be read or answered."""

    @cached_property
    def references(self) -> list[dict[str, Found]]:
        """For each row: target slot -> its reference, or why it has none."""
        return [self.values.references(row.context) for row in self.rows]

    def judged(self, use: MetricUse) -> tuple[Judged, list[int], list[LeftOut]]:
        """As `chosen`.

        Raises:
            UserError: No row has a reference.
        """
        judged, kept, left = self.chosen(use)
        if self.rows and not kept:
            metric: Metric = self.registry.make("metric", use.metric, use.options)
            raise UserError(self._no_reference(reference_column(metric, use), left))
        return judged, kept, left

    def chosen(self, use: MetricUse) -> tuple[Judged, list[int], list[LeftOut]]:
        """What a metric judges, the numbers of these rows, and the rows that are left out.

        Raises:
            UserError: The slot is not generated.
        """
        metric: Metric = self.registry.make("metric", use.metric, use.options)
        column, slot = reference_column(metric, use), self.values.slots.get(use.slot)
        if slot is None:
            known = ", ".join(self.values.slots)
            raise UserError(
                f"the template that rows are evaluated by, the first, has no slot '{use.slot}' but {known}"
            )
        kept: list[int] = []
        rows: list[Row] = []
        answers: list[tuple[Any, ...]] = []
        left: list[LeftOut] = []
        for number, row in enumerate(self.rows):
            mapped = self._mapped[number]
            found = self.references[number][use.slot]
            if column != use.slot:
                found = self.values.reference(slot, column, mapped, row.context)
            try:
                if isinstance(found, NoReference):
                    raise found
                extra = self._candidates(metric, use, row)
            except RowError as error:
                left.append(_left_out(row.name, column, error))
                continue
            kept.append(number)
            rows.append({**mapped, column: found.value, **extra})
            answers.append(found.answers)
        baselines = None
        answers_slot = any(use.slot in row for row in self._baselines)
        if answers_slot:
            baselines = [self._baselines[i] for i in kept]
        judged = Judged(
            self.values.encoder.plan.name,
            rows,
            [self.predictions[i] for i in kept],
            baselines,
            self.baseline_docs.get(use.slot, ""),
            answers,
            self.unusable + len(left),
        )
        return judged, kept, left

    def accepted(
        self, judged: Judged, use: MetricUse, kept: Sequence[int]
    ) -> tuple[Judged, list[int], list[LeftOut]]:
        """Without the rows whose reference the metric refuses."""
        judged, refused = without_refused(judged, use, self.registry)
        left = [
            LeftOut(self.rows[kept[place]].name, use.slot, reason)
            for place, reason in refused.items()
        ]
        return judged, [number for place, number in enumerate(kept) if place not in refused], left

    @cached_property
    def _mapped(self) -> list[dict[str, Any]]:
        """Rows with columns mapped and transformed, and references in place of what was written for them."""
        mapped = []
        for row, found in zip(self.rows, self.references, strict=True):
            references = {name: _value(one) for name, one in found.items()}
            mapped.append({**self._columns(row), **references})
        return mapped

    def _columns(self, row: Answered) -> Row:
        return self.values.encoder.columns.apply(row.raw) if row.mapped is None else row.mapped

    @cached_property
    def predictions(self) -> list[dict[str, Any]]:
        """For each row: target slot -> the answer as metrics compare it."""
        return [self.values.predictions(row.values, row.context) for row in self.rows]

    @cached_property
    def _baselines(self) -> list[dict[str, Any]]:
        return [
            self.values.given_predictions(row.baseline, row.context)
            for row in self.rows
            if row.baseline is not None
        ]

    def _candidates(self, metric: Metric, use: MetricUse, row: Answered) -> dict[str, Any]:
        column = seen_as(Metric, metric).candidates
        if seen_as(Metric, metric).needs != "candidates":
            return {}
        found = self.values.candidates(self.values.slots[use.slot], column, row.raw, row.context)
        return {} if found is None else {column: found}

    def _no_reference(self, column: str, left: Sequence[LeftOut]) -> str:
        reasons = list(dict.fromkeys(one.reason for one in left if one.reason))
        if reasons:
            return f"no row has a reference in column '{column}' that can be used: {reasons[0]}"
        held = self._mapped[0]
        near = "" if any(column in row for row in self._mapped) else suggest(column, held)
        return f"no row has a reference in column '{column}'" + (f"; {near}" if near else "")


def notices(task: str, total: int, left: Iterable[LeftOut]) -> Iterator[str]:
    """One sentence for each column that lacks references, and one for those that cannot be used."""
    groups: dict[tuple[str, bool], dict[str, str]] = {}
    for one in left:
        groups.setdefault((one.column, bool(one.reason)), {})[one.name] = one.reason
    for (column, refused), names in groups.items():
        count = f"{len(names)} of {total} rows of task '{task}'"
        if not refused:
            yield f"{count} had no reference in column '{column}': left out ({_some(names)})"
            continue
        what = f"the reference in column '{column}'" if column else "the row"
        told = [f"{name}: {reason}" for name, reason in names.items()]
        yield f"{count} left out, as {what} cannot be used ({_some(told, '; ')})"


def _some(names: Iterable[str], between: str = ", ") -> str:
    """The first of some names, and how many more there are."""
    names = list(names)
    more = f"{between}and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return between.join(_short(name) for name in names[:_NAMED]) + more


def _short(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:297]}..."


def _value(found: Found) -> Any:
    return found.value if isinstance(found, Reference) else None


def _left_out(name: str, column: str, error: RowError) -> LeftOut:
    blamed = getattr(error, "column", column) or column
    reason = (
        error.reason if isinstance(error, NoReference) else getattr(error, "reason", str(error))
    )
    return LeftOut(name, blamed, str(reason))
