"""Rows with random access from files, folders, datasets and lists."""

from ofacore.sources.base import ConcatSource, Row, Source, SourceError, notes_of
from ofacore.sources.opening import open_source
from ofacore.sources.python import ListSource, ReplayedRows

__all__ = [
    "ConcatSource",
    "ListSource",
    "ReplayedRows",
    "Row",
    "Source",
    "SourceError",
    "notes_of",
    "open_source",
]
