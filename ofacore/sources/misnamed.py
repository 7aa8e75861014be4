"""Files that are something else than their name says, told by how they begin."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path

from ofacore.sources.base import SourceError

_UNPACK = "unpack it first: rows are read at random"
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"PAR1", "a Parquet file", "set format: parquet"),
    (b"PK\x03\x04", "a ZIP archive, as Excel workbooks are", "save the table as CSV, or unpack it"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook of the old kind", "save the table as CSV"),
    (b"\x1f\x8b", "compressed by gzip", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", _UNPACK),
    (b"BZh", "compressed by bzip2", _UNPACK),
    (b"\xfd7zXZ\x00", "compressed by xz", _UNPACK),
    (b"ARROW1", "an Arrow file", "write it as Parquet"),
    (b"SQLite format 3", "a database of SQLite", "write the table as CSV"),
    (
        b"version https://git-lfs",
        "a pointer of Git LFS, not the data",
        "fetch them with 'git lfs pull'",
    ),
    (b"<!doctype html", "a web page", "download the file itself"),
    (b"<html", "a web page", "download the file itself"),
)
"""Beginning in small letters or as it is, what it tells, the way out."""
_TAR = slice(257, 262)
_HEAD = 512


def refuse_foreign(path: Path, wanted: str = "text file", expected: Sequence[bytes] = ()) -> None:
    """Refuse a file whose first bytes say that it is of another kind.

    Args:
        path: The file.
        wanted: What it should be, in words.
        expected: Beginnings that are right.

    Raises:
        SourceError: Names the kind and the way out.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head[_TAR] == b"ustar" and b"ustar" not in expected:
        raise SourceError(f"{path}: no {wanted} but a tar archive; set format: webdataset")
    text = head.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    for start, kind, remedy in _KINDS:
        if start not in expected and (head.startswith(start) or text.startswith(start)):
            raise SourceError(f"{path}: no {wanted} but {kind}; {remedy}")
