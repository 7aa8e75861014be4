"""Tables, records and grids judged as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ofa_modality_structured.metrics.collecting import MeanMetric
from ofa_modality_structured.tables import Table
from ofa_modality_structured.values import held_structure


class StructureMatch(MeanMetric):
    """``structure_match``: share of structures that equal a reference in every cell, however they are written."""

    name = "structure_match"

    def several(self, reference: Any) -> Sequence[Any]:
        """The content of a structure or of a list of them, as a list.

        Raises:
            ValueError: It is neither.
        """
        own = _content(reference)
        if own is not None:
            return [own]
        found = [_content(one) for one in reference] if isinstance(reference, list | tuple) else []
        if not found or any(one is None for one in found):
            raise ValueError(f"{self.name}: the reference {reference!r:.60} is no structure")
        return found

    def sample(self, prediction: Any, references: Sequence[Any], row: Mapping[str, Any]) -> float:
        """1 if the structure is a reference, else 0."""
        return float(_content(prediction) in references)


def _content(value: Any) -> Any:
    """What two structures have in common where they are equal; None where a value is none."""
    found = held_structure(value)
    if not isinstance(found, Table):
        return found
    order = sorted(range(len(found.head)), key=lambda place: str(found.head[place]))
    if not order:
        return [list(row) for row in found.rows]
    rows = []
    for row in (found.head, *found.rows):
        rows.append([row[place] for place in order])
    return rows
