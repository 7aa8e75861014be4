"""Answers as a table: CSV or Parquet, from the lines that were kept while they came."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofacore.ground.json_text import json_text

if TYPE_CHECKING:
    import pyarrow

_BATCH = 10_000
_FIRST = ("row", "at")
_SCORES = ("score", "log_prob", "mean_log_prob")


def write_table(journal: Path, final: Path) -> None:
    """Turn the lines of a journal into a table, which appears whole; the journal is taken away."""
    scratch = final.with_name(f"{final.name}.tmp")
    if final.suffix.lower() == ".csv":
        _write_csv(journal, scratch)
    else:
        _write_parquet(journal, scratch)
    os.replace(scratch, final)
    journal.unlink()


def _rows(journal: Path) -> Iterator[dict[str, Any]]:
    with journal.open(encoding="utf-8", errors="surrogatepass") as file:
        for line in file:
            yield flat(json.loads(line))


def _batches(journal: Path) -> Iterator[list[dict[str, Any]]]:
    rows = _rows(journal)
    while batch := list(islice(rows, _BATCH)):
        yield batch


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """One column for each slot; a slot that is called like another column is ``values.NAME``."""
    row: dict[str, Any] = {name: record[name] for name in _FIRST}
    taken = {*_FIRST, *_SCORES, "candidates"}
    for group in ("kept", "values"):
        for name, value in record.get(group, {}).items():
            row[f"{group}.{name}" if name in taken else name] = value
            taken.add(name)
    row |= {name: record[name] for name in _SCORES}
    if "candidates" in record:
        row["candidates"] = json_text(record["candidates"])
    return row


def _columns(journal: Path) -> list[str]:
    """All columns; rows may lack slots of optional groups."""
    names: dict[str, None] = {}
    for row in _rows(journal):
        names.update(dict.fromkeys(row))
    return list(names)


def _write_csv(journal: Path, place: Path) -> None:
    with place.open("w", encoding="utf-8", errors="surrogatepass", newline="") as file:
        writer = csv.DictWriter(file, _columns(journal) or _FIRST)
        writer.writeheader()
        for row in _rows(journal):
            writer.writerow({name: _cell(value) for name, value in row.items()})


def _cell(value: Any) -> Any:
    return json_text(value) if isinstance(value, list | dict) else value


def _write_parquet(journal: Path, place: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    schema, texts = _schema(journal, _columns(journal))
    with pyarrow.parquet.ParquetWriter(place, schema) as writer:
        for rows in _batches(journal):
            plain = [_with_texts(row, texts) for row in rows]
            writer.write_table(pyarrow.Table.from_pylist(plain, schema))


def _with_texts(row: Mapping[str, Any], columns: set[str]) -> dict[str, Any]:
    return {name: _text(value) if name in columns else value for name, value in row.items()}


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json_text(value)


def _schema(journal: Path, names: list[str]) -> tuple[pyarrow.Schema, set[str]]:
    """Types that all values of a column have, and columns of several kinds of value: these are text, as JSON."""
    import pyarrow

    types: dict[str, pyarrow.DataType | None] = {}
    mixed: set[str] = set()
    for rows in _batches(journal):
        for name in names:
            values = [row[name] for row in rows if row.get(name) is not None]
            try:
                found = pyarrow.array(values).type if values else None
                types[name] = _common(types.get(name), found)
            except pyarrow.ArrowException:
                mixed.add(name)
    fields = []
    for name in names:
        kind = pyarrow.string() if name in mixed else types.get(name) or pyarrow.null()
        fields.append(pyarrow.field(name, kind))
    return pyarrow.schema(fields), mixed


def _common(
    one: pyarrow.DataType | None, other: pyarrow.DataType | None
) -> pyarrow.DataType | None:
    import pyarrow

    if one is None or other is None or one == other:
        return one or other
    both = [pyarrow.schema([("x", kind)]) for kind in (one, other)]
    return pyarrow.unify_schemas(both, promote_options="permissive").field("x").type
