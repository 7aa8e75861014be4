"""SQL judged by its clauses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ofa_modality_structured.metrics.collecting import MeanMetric
from ofa_modality_structured.metrics.sql_words import Clauses, SqlError, clauses


class SqlMatch(MeanMetric):
    """``sql_match``: share of queries whose clauses are those of a reference.

    SELECT, FROM, WHERE, GROUP BY, HAVING and LIMIT are compared as sets, ORDER BY in its order; case, blanks, quotes
    of names, aliases of tables and the order of joined tables do not count.
    """

    name = "sql_match"

    def sample(self, prediction: Any, references: Sequence[Any], row: Mapping[str, Any]) -> float:
        """1 if all clauses are those of one reference, else 0.

        Raises:
            ValueError: A reference is no query.
        """
        wanted = [self._reference(sql) for sql in references]
        try:
            given = clauses(prediction) if isinstance(prediction, str) else ()
        except SqlError:
            return 0.0
        return float(given in wanted)

    def _reference(self, sql: Any) -> tuple[Clauses, ...]:
        if not isinstance(sql, str):
            raise ValueError(f"{self.name}: the reference is a {type(sql).__name__}, not SQL")
        try:
            return clauses(sql)
        except SqlError as error:
            raise ValueError(
                f"{self.name}: the reference {sql!r:.120} is no query: {error}"
            ) from None
