"""A folder of files with a table that describes them, or files sorted into one folder for each label."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path

from ofacore.ground.excerpts import cut, listing
from ofacore.protocols import RowError
from ofacore.sources.base import Row, Source, SourceError, notes_of
from ofacore.sources.python import ListSource
from ofacore.sources.value_files import found_file, may_name_file

FILE_COLUMN = "file_name"
_NAME = 255
TABLE_STEMS = ("metadata", "data", "index")
"""What the table of a folder is called, the likeliest first."""
_SUFFIXES = (".csv", ".tsv", ".jsonl")
TABLE_SUFFIXES = frozenset((*_SUFFIXES, ".json", ".parquet", ".tar"))
"""Files that hold rows themselves; a folder of nothing else is no folder of pictures."""


_LOG = "_delta_log"


class FolderSource:
    """Rows of a table inside a folder; values that name a file of the folder become its full path.

    Column ``file_name`` (and any ``*_file_name``) must name a file; elsewhere a value that names none stays as it is.
    """

    def __init__(self, folder: Path, table: Source, paths: frozenset[str] = frozenset()) -> None:
        """A table and its folder; values of the columns ``paths`` must name files where they look like it."""
        self._folder, self._table, self._paths = folder, table, paths

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: int) -> Row:
        return {key: self._value(key, value, index) for key, value in self._table[index].items()}

    def name(self, index: int) -> str:
        return self._table.name(index)

    @property
    def columns(self) -> tuple[str, ...]:
        return self._table.columns

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of the table."""
        return notes_of(self._table)

    @property
    def folders(self) -> tuple[str, ...]:
        """The folder."""
        return (str(self._folder),)

    def _value(self, key: str, value: object, index: int) -> object:
        required = key == FILE_COLUMN or key.endswith("_" + FILE_COLUMN)
        likely = isinstance(value, str) and may_name_file(value)
        if not isinstance(value, str) or not (required or likely):
            return value
        folders = [str(self._folder)]
        if key in self._paths:
            folders.append("")
        path = found_file(value, folders)
        if path is None and (required or key in self._paths):
            wanted = self._folder / cut(value, 200)
            raise RowError(f"{self.name(index)}, column '{key}': no file {wanted}{nearest(wanted)}")
        return value if path is None else path


def open_folder(
    folder: Path, open_table: Callable[[Path], Source], paths: frozenset[str] = frozenset()
) -> Source:
    """Rows of a folder: by its table (``metadata.csv``, or the only CSV, TSV or JSONL file), else one row a file.

    Without a table, column ``file_name`` is the path and ``label`` the name of the folder that holds it.

    Raises:
        SourceError: Several tables, or nothing there.
    """
    tables = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _SUFFIXES and path.name[0] != "."
    )
    named = [path for stem in TABLE_STEMS for path in tables if path.stem == stem]
    if named or len(tables) == 1:
        return FolderSource(folder, open_table((named or tables)[0]), paths)
    if tables:
        found = listing(path.name for path in tables)
        raise SourceError(
            f"{folder}: several tables ({found}); give one of them as the data, or call it metadata.csv"
        )
    if (folder / _LOG).is_dir():
        remedy = "only its log says which files count; write what it holds as Parquet"
        raise SourceError(f"{folder}: the folder is a Delta table; {remedy}")
    return files_of(folder)


def files_of(folder: Path) -> ListSource:
    """One row for each file of a folder: ``file_name`` is its path, ``label`` the name of the folder that holds it.

    Raises:
        SourceError: There are none, or tables alone.
    """
    files = sorted(path for path in _files(folder, frozenset()) if not _is_mark(path))
    if not files:
        raise SourceError(
            f"{folder}: the folder is empty; it must hold files, and a metadata.csv that describes them"
        )
    described = next((path for path in files if _describes(path, folder)), None)
    if described is not None:
        remedy = f"'{described.parent}' is a folder with its table; give that as the data"
        raise SourceError(
            f"{folder}: {described.relative_to(folder)} describes files of a folder below; {remedy}"
        )
    suffixes = {path.suffix.lower() for path in files}
    if suffixes <= TABLE_SUFFIXES:
        depth = "" if all(path.parent == folder for path in files) else "**/"
        pattern = folder / f"{depth}*{files[0].suffix}"
        raise SourceError(
            f"{folder}: the folder holds tables, such as {files[0].name}; give '{pattern}' as the data"
        )
    return ListSource(
        [{FILE_COLUMN: str(path), "label": path.parent.name} for path in files], str(folder)
    )


def _describes(path: Path, folder: Path) -> bool:
    """Whether a file is the table of a folder below."""
    return (
        path.parent != folder and path.suffix.lower() in _SUFFIXES and path.stem == TABLE_STEMS[0]
    )


def _is_mark(path: Path) -> bool:
    """Whether a file only says something of the others, as ``_SUCCESS`` and ``_metadata`` beside tables."""
    return path.name[0] == "_" and not path.suffix


def _files(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    """Everything below a folder that is no folder; links are followed, but not back to where they stand.

    A link that leads nowhere is told too: its row says that there is no file.
    """
    real = folder.resolve()
    for entry in folder.iterdir() if real not in above else ():
        if entry.name[0] == ".":
            continue
        if entry.is_dir():
            yield from _files(entry, above | {real})
        else:
            yield entry


def nearest(path: Path) -> str:
    """``; did you mean a.csv or b.csv?`` from the names beside a missing file, or what is known of its folder."""
    parent = path.parent
    if not os.path.isdir(parent):
        return f"; there is no folder {parent}"
    names = [entry.name for entry in parent.iterdir()]
    close = get_close_matches(path.name[:_NAME], names, n=3, cutoff=0.5)
    return (
        f"; did you mean {' or '.join(close)}?"
        if close
        else f"; {parent} holds {len(names)} other entries"
    )
