"""SQL judged by the rows that it gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ofa_modality_structured.database import is_sqlite
from ofa_modality_structured.files import found_file
from ofa_modality_structured.metrics.collecting import MeanMetric
from ofa_modality_structured.metrics.sandbox import QueryError, Rows, run_query
from ofa_modality_structured.metrics.sql_words import is_ordered
from ofacore.protocols import RowError

_DIGITS = 9
"""Significant digits in which sums of floating-point numbers are compared."""


class ExecutionAccuracy(MeanMetric):
    """``execution_accuracy``: share of queries that give the rows of the reference on the row's database.

    Rows are compared in any order, unless the reference says ORDER BY; columns in theirs. A prediction that fails is
    wrong. Options: see the manifest.
    """

    name = "execution_accuracy"

    def sample(self, prediction: Any, references: Sequence[Any], row: Mapping[str, Any]) -> float:
        """1 if the rows are those of one reference, else 0.

        Raises:
            ValueError: The row names no database, there is none (a RowError), or a reference fails.
        """
        path = self._database(row)
        wanted = [(self._reference(path, sql), is_ordered(sql)) for sql in references]
        if not isinstance(prediction, str):
            return 0.0
        try:
            given = self._run(path, prediction)
        except QueryError:
            return 0.0
        return float(any(_same(given, rows, ordered) for rows, ordered in wanted))

    def _database(self, row: Mapping[str, Any]) -> Path:
        column, file = self.options["database"], self.options["file"]
        place = "option 'file'" if file else f"column '{column}'"
        named = file or row.get(column)
        if not isinstance(named, str | Path):
            raise ValueError(
                f"{self.name}: column '{column}' of the row names no SQLite file; name another column by the option "
                "'database', or one file for all rows by the option 'file'"
            )
        found = found_file(named, self.options["folder"])
        if found is None:
            missing = f"{place}: there is no file {str(named)!r:.120}"
            raise RowError(f"{missing}; give the path of an SQLite file")
        if not is_sqlite(found):
            raise RowError(f"{place}: {found} is no SQLite database; give the path of one")
        return found

    def _reference(self, path: Path, sql: Any) -> Rows:
        if not isinstance(sql, str):
            raise ValueError(f"{self.name}: the reference is a {type(sql).__name__}, not SQL")
        try:
            return self._run(path, sql)
        except QueryError as error:
            raise ValueError(
                f"{self.name}: the reference {sql!r:.120} fails on {path}: {error}"
            ) from None

    def _run(self, path: Path, sql: str) -> Rows:
        return run_query(path, sql, self.options["seconds"], self.options["max_rows"])


def _same(given: Rows, wanted: Rows, ordered: bool) -> bool:
    ours = [_comparable_row(row) for row in given]
    theirs = [_comparable_row(row) for row in wanted]
    return ours == theirs if ordered else Counter(ours) == Counter(theirs)


def _comparable_row(row: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(_comparable(cell) for cell in row)


def _comparable(cell: Any) -> Any:
    """A cell as it is compared: sums of floats differ in their last digits by the order of rows."""
    return float(f"{cell:.{_DIGITS}g}") if isinstance(cell, float) else cell
