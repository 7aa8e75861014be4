"""Data frames, such as those of pandas, as rows."""

from __future__ import annotations

from typing import Any

from ofacore.ground.excerpts import excerpt
from ofacore.sources.base import SourceError
from ofacore.sources.spelling import repeated


def is_frame(value: Any) -> bool:
    """Whether this is a data frame, told by what it can do."""
    return hasattr(value, "iloc") and hasattr(value, "to_dict")


def records(frame: Any) -> list[dict[str, Any]]:
    """Rows of a data frame; what pandas takes for missing (NaN, NaT, NA, None) is None.

    Raises:
        SourceError: Two columns have one name.
    """
    names = list(frame.columns)
    twice = repeated(names)
    if twice is not None:
        raise SourceError(
            f"the data frame has the column {excerpt(twice)} twice; rename or drop one of them"
        )
    missing = frame.isna().to_numpy()
    rows: list[dict[str, Any]] = frame.to_dict("records")
    for row, places in zip(
        missing.nonzero()[0].tolist(), missing.nonzero()[1].tolist(), strict=True
    ):
        rows[row][names[places]] = None
    return rows
