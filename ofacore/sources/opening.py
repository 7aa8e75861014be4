"""From what a user gives as data to a source of rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ofacore.config.task_section import DataConfig
from ofacore.ground.excerpts import cut
from ofacore.ground.patterns import is_remote, named_files
from ofacore.sources.arrow_values import conversions
from ofacore.sources.base import ConcatSource, Source, SourceError
from ofacore.sources.changed import (
    ChangedRows,
    EmptyIsAbsent,
    FilesBeside,
    FolderValues,
    folder_values,
)
from ofacore.sources.delimited import DelimitedSource
from ofacore.sources.folder import nearest, open_folder
from ofacore.sources.frames import is_frame, records
from ofacore.sources.jsonl import JsonLinesSource, json_rows
from ofacore.sources.named_splits import SPLIT_NAMES
from ofacore.sources.parquet import ParquetSource
from ofacore.sources.python import ListSource
from ofacore.sources.remote import fetched
from ofacore.sources.webdataset import WebDatasetSource

_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".tar": "webdataset",
}
_PICKLED = (".pkl", ".pickle", ".pt", ".pth", ".pyd")
_REMEDIES = {
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "save the table as CSV"),
    **dict.fromkeys(
        (".arrow", ".feather"),
        "write it as Parquet; of what save_to_disk wrote, give the whole folder",
    ),
    **dict.fromkeys(
        _PICKLED, "it may run code when it is read; write its rows as JSON lines or Parquet"
    ),
    **dict.fromkeys(
        (".orc", ".avro", ".h5", ".hdf5", ".tfrecord", ".tfrecords"), "write it as Parquet"
    ),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3"), "write the table as CSV or Parquet"),
    "": "of a folder that holds other files too name the tables alone, as in 'folder/*.parquet'; or set format",
    **dict.fromkeys(
        (".gz", ".zip", ".bz2", ".xz", ".zst", ".tgz"), "unpack it first: rows are read at random"
    ),
}
"""What to do with files of common kinds that cannot be read."""


def open_source(
    spec: Any, config: DataConfig | None = None, split: str = "train", paths: Collection[str] = ()
) -> Source:
    """Open data of any accepted form.

    Args:
        spec: A path (file, folder, or pattern such as ``shards/*.tar``), an address
            (``s3://bucket/*.parquet``), a list of those, a list of rows, a source, a map-style
            torch dataset, a Hugging Face dataset or dataset dictionary, or a data frame.
        config: Format, header, column names, quoting, encoding, and what an empty field means.
        split: Which split of a dataset dictionary is meant.
        paths: Columns whose text may name a file; a relative one is looked for beside the table too.

    Raises:
        SourceError: It cannot be opened; the message names the file, the format and the way out.
    """
    config = config or DataConfig()
    source = _opened(spec, config, split, frozenset(paths))
    if config.empty == "text":
        return source
    columns = None
    if not isinstance(config.empty, str):
        columns = frozenset(
            column for column, meaning in config.empty.items() if meaning == "absent"
        )
    return ChangedRows(source, EmptyIsAbsent(columns))


def _opened(spec: Any, config: DataConfig, split: str, paths: frozenset[str]) -> Source:
    if isinstance(spec, str | Path):
        return _open_path(str(spec), config, split, paths)
    if isinstance(spec, Mapping):
        return _opened(_of_split(spec, split), config, split, paths)
    if isinstance(spec, Sequence) and spec and all(isinstance(part, str | Path) for part in spec):
        return ConcatSource([_open_path(str(part), config, split, paths) for part in spec])
    return _open_object(spec)


def _open_object(spec: Any) -> Source:
    if is_frame(spec):
        return ListSource(records(spec))
    if isinstance(spec, Source):
        return spec
    if hasattr(spec, "to_pylist") and hasattr(spec, "schema"):
        rows, change = ListSource(spec.to_pylist(), "table"), conversions(spec.schema)
        return rows if change is None else ChangedRows(rows, change)
    if hasattr(getattr(spec, "features", None), "arrow_schema"):
        rows = ListSource(spec, type(spec).__name__.lower())
        change = conversions(spec.features.arrow_schema, spec.features.to_dict())
        return rows if change is None else ChangedRows(rows, change)
    if hasattr(spec, "__getitem__") and hasattr(spec, "__len__"):
        name = "rows" if isinstance(spec, list) else type(spec).__name__.lower()
        return ListSource(spec, name)
    if isinstance(spec, Iterable):
        remedy = "give list(rows), write them to a file, or wrap them in ReplayedRows, whose price is stated there"
        raise SourceError(
            f"data of type {type(spec).__name__} has no random access, which resuming needs; {remedy}"
        )
    raise SourceError(
        f"data of type {type(spec).__name__}; give a path, a list of paths, a list of rows, or a dataset"
    )


def _of_split(spec: Mapping[str, Any], split: str) -> Any:
    for name in SPLIT_NAMES.get(split, (split,)):
        if name in spec:
            return spec[name]
    raise SourceError(
        f"the dataset has no split '{split}'; it has {', '.join(spec)}; choose one and give it as the data"
    )


def _open_path(text: str, config: DataConfig, split: str, paths: frozenset[str]) -> Source:
    if is_remote(text):
        found = [str(path) for path in fetched(text)]
        missing: list[str] = []
    else:
        found, missing = named_files(text)
    if config.format == "hf" and not found:
        return _download(text, split)
    if missing:
        _refuse_missing(text, missing[0])
    parts = [_reader(Path(path), config, split, paths)() for path in found]
    return parts[0] if len(parts) == 1 else ConcatSource(parts)


def _refuse_missing(text: str, name: str) -> NoReturn:
    """Say what is known of a file that is not there."""
    path = Path(name)
    if os.path.islink(name):
        raise SourceError(
            f"{name} is a link to '{os.readlink(name)}', which leads to no file; mend the link"
        )
    named = "" if name == os.path.expanduser(text) else f", which '{cut(text, 200)}' names"
    raise SourceError(f"no file {cut(name, 200)}{named}{nearest(path)}")


def _reader(
    path: Path, config: DataConfig, split: str, paths: frozenset[str]
) -> Callable[[], Source]:
    kind = config.format if config.format != "auto" else _guessed(path)

    def table_of(folder_table: Path) -> Source:
        return _open_path(str(folder_table), _of_table(config), split, frozenset())

    readers: dict[str, Callable[[], Source]] = {
        "csv": lambda: _beside(
            _delimited(path, config, ",", quoting=config.quoting != "none"), path, paths
        ),
        "tsv": lambda: _beside(
            _delimited(path, config, "\t", quoting=config.quoting == "csv"), path, paths
        ),
        "jsonl": lambda: _beside(JsonLinesSource(path, config.encoding), path, paths),
        "json": lambda: _beside(json_rows(path, config.encoding), path, paths),
        "parquet": lambda: _beside(_with_folders(ParquetSource(path), path), path, paths),
        "webdataset": lambda: WebDatasetSource(path),
        "hf": lambda: _saved_dataset(path, split),
        "folder": lambda: open_folder(path, table_of, paths),
    }
    if kind not in readers:
        raise SourceError(
            f"{path}: unknown format '{kind}'; set format to one of {', '.join(sorted(readers))}"
        )
    if path.is_dir() != (kind in ("folder", "hf")):
        raise SourceError(
            f"{path} is a {'folder' if path.is_dir() else 'file'}, which format '{kind}' cannot read"
        )
    return readers[kind]


def _delimited(path: Path, config: DataConfig, delimiter: str, quoting: bool) -> Source:
    return DelimitedSource(
        path,
        config.delimiter or delimiter,
        _names(path, config),
        quoting=quoting,
        encoding=config.encoding,
        fixed=bool(config.delimiter),
    )


def _with_folders(source: Source, path: Path) -> Source:
    """The rows of a file that was written into one folder for each value of a column."""
    values = folder_values(path)
    return ChangedRows(source, FolderValues(values), tuple(values)) if values else source


def _beside(source: Source, path: Path, paths: frozenset[str]) -> Source:
    """The rows of a table, names of files completed."""
    return ChangedRows(source, FilesBeside(path.parent, paths)) if paths else source


def _of_table(config: DataConfig) -> DataConfig:
    return config.model_copy(update={"format": "auto"})


def _guessed(path: Path) -> str:
    if path.is_dir():
        return (
            "hf"
            if any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))
            else "folder"
        )
    kind = _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        known = ", ".join(_SUFFIXES)
        remedy = _REMEDIES.get(path.suffix.lower(), "set format, as in format: csv")
        raise SourceError(
            f"{path}: the suffix '{path.suffix}' tells no format (known: {known}); {remedy}"
        )
    return kind


def _names(path: Path, config: DataConfig) -> tuple[str, ...]:
    if not config.header and not config.names:
        raise SourceError(
            f"{path}: header is false, so the columns need names; set names: [first, second, ...]"
        )
    if config.header and config.names:
        remedy = "set header: false if its first line is data, else leave names out"
        raise SourceError(
            f"{path}: names are given, but the first line names the columns; {remedy}"
        )
    return config.names


def _saved_dataset(path: Path, split: str) -> Source:
    from datasets import load_from_disk

    try:
        return _opened(load_from_disk(str(path)), DataConfig(), split, frozenset())
    except (FileNotFoundError, ValueError) as error:
        raise SourceError(f"{path}: no dataset saved by save_to_disk: {error}") from error


def _download(name: str, split: str) -> Source:
    from datasets import load_dataset

    try:
        return _opened(load_dataset(name), DataConfig(), split, frozenset())
    except (FileNotFoundError, ValueError, ConnectionError) as error:
        raise SourceError(
            f"dataset '{name}' is neither a folder here nor can it be loaded: {error}"
        ) from error
