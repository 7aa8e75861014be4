"""Errors about data that name the task, the row and the column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ofacore.ground.excerpts import cut, listing
from ofacore.protocols import RedrawError, RowError, SampleInfo

_ROWS = 8
_TASKS = 4
"""Most that are named of a micro-batch: tasks, and rows of each."""


class EncodeError(RowError):
    """A row cannot be encoded.

    Attributes:
        task: Name of the task.
        row_id: Where the row is found, ``file:line``.
        column: Column that is to blame, or empty.
        reason: What is wrong, and what would be right.
    """

    def __init__(self, task: str, row_id: str, column: str, reason: str) -> None:
        self.task, self.row_id, self.column, self.reason = task, row_id, column, cut(reason)
        super().__init__(task, row_id, column, self.reason)

    def __str__(self) -> str:
        place = f"{self.row_id}, column '{self.column}'" if self.column else self.row_id
        return f"task '{self.task}', {place}: {self.reason}"


class ColumnError(RowError):
    """As `RowError`, with the column to blame."""

    def __init__(self, column: str, reason: str) -> None:
        self.column, self.reason = column, reason
        super().__init__(column, reason)

    def __str__(self) -> str:
        return f"column '{self.column}': {self.reason}"


def reason_at(row_id: str, error: RowError) -> str:
    """What is wrong, without the place if it begins with it: a report names the place itself."""
    if isinstance(error, EncodeError):
        return f"column '{error.column}': {error.reason}" if error.column else error.reason
    text = cut(str(error))
    return text[len(row_id) :].lstrip(":, ") if row_id and text.startswith(row_id) else text


@dataclass(frozen=True)
class BadRow:
    """A row that was replaced by another, or would be."""

    task: str
    row_id: str
    reason: str


class Blaming:
    """Gives an error of a row its task and row, and any other a note of them; a class, as every row enters one."""

    __slots__ = ("_row_id", "_task")

    def __init__(self, task: str, row_id: str) -> None:
        self._task, self._row_id = task, row_id

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if error is None or isinstance(error, EncodeError):
            return
        if isinstance(error, ColumnError):
            raise EncodeError(self._task, self._row_id, error.column, error.reason) from error
        if isinstance(error, RowError):
            raise EncodeError(self._task, self._row_id, "", str(error)) from error
        if isinstance(error, Exception):
            error.add_note(f"while encoding {self._row_id} of task '{self._task}'")


class BlamingBatch:
    """Notes the rows of a micro-batch on whatever is raised while it is computed; a class, as `Blaming`."""

    __slots__ = ("_samples",)

    def __init__(self, samples: Sequence[SampleInfo]) -> None:
        self._samples = samples

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if isinstance(error, Exception):
            error.add_note(f"in a micro-batch of {told_rows(self._samples)}")


def told_rows(samples: Sequence[SampleInfo]) -> str:
    """``task 'write': pairs.csv:2, pairs.csv:7 and 4 more``, one task behind the other."""
    rows: dict[str, list[str]] = {}
    for sample in samples:
        rows.setdefault(sample.task, []).append(sample.row_id)
    told = [f"task '{task}': {listing(names, _ROWS)}" for task, names in rows.items()]
    return "; ".join(told[:_TASKS])


@contextmanager
def blamed_column(column: str) -> Iterator[None]:
    """Gives an error of a row its column."""
    try:
        yield
    except (ColumnError, RedrawError):
        raise
    except RowError as error:
        raise column_error(column, error) from error


def column_error(column: str, error: RowError) -> ColumnError:
    """The error with the column to blame, told once."""
    told = str(error).removeprefix(f"column '{column}': ")
    return ColumnError(column, told.removeprefix(f"column '{column}', "))
