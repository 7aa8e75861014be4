"""From what a user gives as data to a source of rows."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ofacore.config.schema import DataConfig
from ofacore.data.sources.base import ConcatSource, Source, SourceError
from ofacore.data.sources.delimited import DelimitedSource
from ofacore.data.sources.folder import nearest, open_folder
from ofacore.data.sources.jsonl import JsonLinesSource, json_array
from ofacore.data.sources.parquet import ParquetSource
from ofacore.data.sources.python import ListSource
from ofacore.data.sources.webdataset import WebDatasetSource

_SUFFIXES = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json",
    ".parquet": "parquet", ".pq": "parquet", ".tar": "webdataset",
}  # fmt: skip
_REMEDIES = {
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "save the table as CSV"),
    **dict.fromkeys((".gz", ".zip", ".bz2", ".xz", ".zst", ".tgz"), "unpack it first: rows are read at random"),
}
"""What to do with files of common kinds that cannot be read."""
_SPLIT_NAMES = {"train": ("train", "training"), "valid": ("valid", "validation", "dev", "val"), "test": ("test",)}


def open_source(spec: Any, config: DataConfig | None = None, split: str = "train") -> Source:
    """Open data of any accepted form.

    Args:
        spec: A path (file, folder, or pattern such as ``shards/*.tar``), a list of paths, a list of rows, a source, a
            map-style torch dataset, a Hugging Face dataset or dataset dictionary, or a data frame.
        config: Format, header and column names.
        split: Which split of a dataset dictionary is meant.

    Raises:
        SourceError: It cannot be opened; the message names the file, the format and the way out.
    """
    config = config or DataConfig()
    if isinstance(spec, str | Path):
        return _open_path(str(spec), config, split)
    if isinstance(spec, Mapping):
        return open_source(_of_split(spec, split), config, split)
    if isinstance(spec, Sequence) and spec and all(isinstance(part, str | Path) for part in spec):
        return ConcatSource([open_source(part, config, split) for part in spec])
    return _open_object(spec)


def _open_object(spec: Any) -> Source:
    if hasattr(spec, "iloc") and hasattr(spec, "to_dict"):
        return ListSource(spec.to_dict("records"))
    if isinstance(spec, Source):
        return spec
    if hasattr(spec, "__getitem__") and hasattr(spec, "__len__"):
        return ListSource(spec, "rows" if isinstance(spec, list) else type(spec).__name__.lower())
    if isinstance(spec, Iterable):
        remedy = "give list(rows), write them to a file, or wrap them in ReplayedRows, whose price is stated there"
        raise SourceError(f"data of type {type(spec).__name__} has no random access, which resuming needs; {remedy}")
    raise SourceError(f"data of type {type(spec).__name__}; give a path, a list of paths, a list of rows, or a dataset")


def _of_split(spec: Mapping[str, Any], split: str) -> Any:
    for name in _SPLIT_NAMES.get(split, (split,)):
        if name in spec:
            return spec[name]
    raise SourceError(
        f"the dataset has no split '{split}'; it has {', '.join(spec)}; choose one and give it as the data"
    )


def _open_path(text: str, config: DataConfig, split: str) -> Source:
    path = Path(text).expanduser()
    if path.exists():
        return _reader(path, config, split)()
    matches = sorted(match for match in glob.glob(str(path)) if Path(match).exists())
    if matches:
        return ConcatSource([_open_path(match, config, split) for match in matches])
    if config.format == "hf":
        return _download(text, split)
    if path.is_symlink():
        raise SourceError(f"{text} is a link to '{os.readlink(path)}', which leads to no file; mend the link")
    raise SourceError(f"no file {text}{nearest(path)}")


def _reader(path: Path, config: DataConfig, split: str) -> Callable[[], Source]:
    kind = config.format if config.format != "auto" else _guessed(path)
    readers: dict[str, Callable[[], Source]] = {
        "csv": lambda: DelimitedSource(path, config.delimiter or ",", _names(path, config)),
        "tsv": lambda: DelimitedSource(path, config.delimiter or "\t", _names(path, config)),
        "jsonl": lambda: JsonLinesSource(path),
        "json": lambda: json_array(path),
        "parquet": lambda: ParquetSource(path),
        "webdataset": lambda: WebDatasetSource(path),
        "hf": lambda: _saved_dataset(path, split),
        "folder": lambda: open_folder(path, lambda table: _open_path(str(table), _of_table(config), split)),
    }
    if kind not in readers:
        raise SourceError(f"{path}: unknown format '{kind}'; set format to one of {', '.join(sorted(readers))}")
    if path.is_dir() != (kind in ("folder", "hf")):
        raise SourceError(f"{path} is a {'folder' if path.is_dir() else 'file'}, which format '{kind}' cannot read")
    return readers[kind]


def _of_table(config: DataConfig) -> DataConfig:
    return config.model_copy(update={"format": "auto"})


def _guessed(path: Path) -> str:
    if path.is_dir():
        return "hf" if any((path / name).is_file() for name in ("state.json", "dataset_dict.json")) else "folder"
    kind = _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        known = ", ".join(_SUFFIXES)
        remedy = _REMEDIES.get(path.suffix.lower(), "set format, as in format: csv")
        raise SourceError(f"{path}: the suffix '{path.suffix}' tells no format (known: {known}); {remedy}")
    return kind


def _names(path: Path, config: DataConfig) -> tuple[str, ...]:
    if not config.header and not config.names:
        raise SourceError(f"{path}: header is false, so the columns need names; set names: [first, second, ...]")
    return config.names if not config.header else ()


def _saved_dataset(path: Path, split: str) -> Source:
    from datasets import load_from_disk

    try:
        return open_source(load_from_disk(str(path)), split=split)
    except (FileNotFoundError, ValueError) as error:
        raise SourceError(f"{path}: no dataset saved by save_to_disk: {error}") from error


def _download(name: str, split: str) -> Source:
    from datasets import load_dataset

    try:
        return open_source(load_dataset(name), split=split)
    except (FileNotFoundError, ValueError, ConnectionError) as error:
        raise SourceError(f"dataset '{name}' is neither a folder here nor can it be loaded: {error}") from error
