"""Where the records of a delimited file begin: at lines, but for line breaks inside quotes."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import numpy as np

from ofacore.sources.base import SourceError
from ofacore.sources.mapped import MappedFile

_QUOTE = b'"'


def record_spans(
    file: MappedFile, delimiter: bytes, quoting: bool = True, skipped: int = 0
) -> np.ndarray:
    """int64 [records, 3]: first byte, end, number of the first line. Empty lines are left out.

    Args:
        file: The file.
        delimiter: The byte between fields.
        quoting: A line break inside double quotes ends no record.
        skipped: Bytes at the beginning that are no record; they end with a line.

    Raises:
        SourceError: A quoted field is still open at the end of the file.
    """
    spans = file.line_spans()
    lines = np.arange(1, len(spans) + 1, dtype=np.int64)[:, None]
    data = file.data
    table = np.concatenate([spans, lines], axis=1)
    table = table[table[:, 0] >= skipped]
    if quoting and data.find(_QUOTE) >= 0:
        table = np.array(list(_joined(file, data, table, delimiter)), np.int64).reshape(-1, 3)
    return table[[not _is_empty(data, start, end) for start, end, _ in table.tolist()]]


def _is_empty(data: mmap.mmap | bytes, start: int, end: int) -> bool:
    return end - start <= 2 and not data[start:end].strip(b"\r\n")


def _joined(
    file: MappedFile, data: mmap.mmap | bytes, lines: np.ndarray, delimiter: bytes
) -> Iterator[tuple[int, int, int]]:
    """Lines joined to records where a line break stands inside quotes."""
    first: tuple[int, int] | None = None
    for start, end, line in lines.tolist():
        text = data[start:end]
        inside = first is not None
        open_after = ends_inside(text, delimiter, inside) if _QUOTE in text else inside
        if open_after:
            first = first or (start, line)
        else:
            yield (start, end, line) if first is None else (first[0], end, first[1])
            first = None
    if first is not None:
        remedy = 'write a quote inside a quoted field as "", or set quoting: none'
        raise SourceError(
            f"{file.path}:{first[1]}: a quoted field begins here and never ends; {remedy}"
        )


def ends_inside(line: bytes, delimiter: bytes, inside: bool) -> bool:
    """Whether a quoted field is open at the end of a line. A quote opens a field only as its first character."""
    position = 0
    while True:
        if not inside and line[position : position + 1] == _QUOTE:
            inside, position = True, position + 1
        if inside:
            quote = line.find(_QUOTE, position)
            if quote < 0:
                return True
            position = quote + 1
            if line[position : position + 1] == _QUOTE:
                position += 1
                continue
            inside = False
        position = line.find(delimiter, position) + 1
        if position == 0:
            return False
