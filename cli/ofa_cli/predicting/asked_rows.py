"""The rows that are to be answered: of a table, of the files of a folder, of the lines of a stream."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ofa_cli.entered import entered_row
from ofacore.config.task_section import DataConfig
from ofacore.ground.errors import UserError
from ofacore.ground.excerpts import listing
from ofacore.plan import TaskPlan, TemplatePlan
from ofacore.plan.lookups import begins_with, column_hint, needed_columns
from ofacore.plugin import Registry, suggest
from ofacore.protocols import RowError
from ofacore.sources import Source, open_source
from ofacore.sources.base import Row
from ofacore.sources.folder import FILE_COLUMN, FolderSource, files_of
from ofacore.sources.jsonl import parsed

STANDARD_INPUT = "-"
_LINES = (".txt",)
_BYTE_ORDER_MARK = "\ufeff"
_HEADED = (".csv", ".tsv", ".tab")


@dataclass(frozen=True)
class AskedRow:
    """One row that is to be answered."""

    number: int
    """From 0, in the order in which rows are read; bad rows count."""
    place: str
    """Where a user finds it: ``rows.csv:2``."""
    content: Row | RowError
    """The row, or why it cannot be read."""


class AskedRows(Protocol):
    """Rows in their order, read as they are asked for."""

    @property
    def total(self) -> int | None:
        """How many there are; None where nobody knows before the end."""

    def read(self, start: int = 0) -> Iterator[AskedRow]:
        """Those from number ``start`` on."""


@dataclass(frozen=True)
class TableRows:
    """Rows of a source with random access."""

    source: Source
    given: Mapping[str, Any]
    """Values that are the same for all rows."""

    @property
    def total(self) -> int | None:
        return len(self.source)

    def read(self, start: int = 0) -> Iterator[AskedRow]:
        for number in range(start, len(self.source)):
            content: Row | RowError
            try:
                content = {**self.source[number], **self.given}
            except RowError as error:
                content = error
            yield AskedRow(number, self.source.name(number), content)


@dataclass(frozen=True)
class LineRows:
    """Lines, each an object of JSON, or the value of the one slot that is read. Blank lines are passed over."""

    lines: Callable[[], AbstractContextManager[Iterable[str]]]
    """Opens them."""
    name: str
    slot: str
    """The slot whose value a line is that holds no object; empty: every line must hold one."""
    given: Mapping[str, Any]

    @property
    def total(self) -> int | None:
        return None

    def read(self, start: int = 0) -> Iterator[AskedRow]:
        number = 0
        with self.lines() as lines:
            for place, line in enumerate(lines, 1):
                text = line.removesuffix("\n").removesuffix("\r")
                if place == 1:
                    text = text.removeprefix(_BYTE_ORDER_MARK)
                if not text.strip():
                    continue
                if number >= start:
                    yield AskedRow(number, f"{self.name}:{place}", self._content(text))
                number += 1

    def _content(self, text: str) -> Row | RowError:
        if self.slot and not text.lstrip().startswith("{"):
            return {self.slot: text, **self.given}
        try:
            row = parsed(text.encode("utf-8", "surrogateescape"))
        except ValueError as error:
            return RowError(f"not JSON: {error}; each line must hold one whole object")
        if not isinstance(row, dict):
            return RowError(f"a {type(row).__name__}, but each line must hold one object")
        return {**row, **self.given}


def asked_rows(
    data: str,
    plan: TaskPlan,
    registry: Registry,
    *,
    config: DataConfig,
    given: Mapping[str, Any],
    files: Sequence[str],
    kept: Sequence[str] = (),
) -> AskedRows:
    """Open what is to be answered, and make sure that it has what the task reads.

    Args:
        data: A file or folder, or ``-`` for standard input.
        plan: The task; its first template counts.
        registry: What is installed.
        config: How a file is read.
        given: Slot or column -> the value of all rows.
        files: Slots of the source that take files.
        kept: Columns that are copied to the answers.

    Raises:
        UserError: A column is missing, there are no rows, or a folder has no slot to go to.
        SourceError: It cannot be opened.
    """
    given = entered_row(given, plan, registry)
    needed = _needed(plan.templates[0], given, registry)
    if data == STANDARD_INPUT:
        return LineRows(lambda: nullcontext(sys.stdin), "line", _only(needed), given)
    path = Path(data)
    if path.suffix.lower() in _LINES and path.is_file() and config.format == "auto":
        if kept:
            raise UserError(f"--keep: {path} holds lines, which have no columns")
        opened = partial(path.open, encoding=config.encoding or "utf-8", errors="surrogateescape")
        return LineRows(opened, str(path), _only(needed), given)
    columns = tuple(plan.columns.get(slot, slot) for slot in files)
    if path.is_dir():
        found = _of_folder(path, plan, config, needed, files, columns)
        if found is not None:
            return TableRows(found, given)
    source = open_source(data, config, "test", columns)
    if not len(source):
        raise UserError(f"{data} has no rows, so there is nothing to answer")
    _check_columns(data, source, plan, needed, kept, config)
    return TableRows(source, given)


def _of_folder(
    folder: Path,
    plan: TaskPlan,
    config: DataConfig,
    needed: Sequence[str],
    slots: Sequence[str],
    columns: Sequence[str],
) -> Source | None:
    """Every file of a folder as a row; None where the folder holds rows of its own: a table, a saved dataset."""
    if config.format != "auto" or any(
        (folder / name).is_file() for name in ("state.json", "dataset_dict.json")
    ):
        return None
    tables = [entry for entry in folder.iterdir() if entry.suffix.lower() in (*_HEADED, ".jsonl")]
    if tables:
        source = open_source(str(folder), config, "test", columns)
        if isinstance(source, FolderSource) and not _missing(source.columns, plan, needed):
            return None
    found = files_of(folder)
    places = [slot for slot in needed if slot in slots]
    if len(places) != 1:
        has = f"there are {listing(places)}" if places else "there is none"
        raise UserError(
            f"{folder} is a folder, whose files go to the one slot of the source that takes files: {has}; "
            "give a table that has a column for each slot"
        )
    others = [slot for slot in needed if slot not in places]
    if others:
        raise UserError(
            f"{folder} is a folder of files for '{places[0]}', but the task reads {listing(others)} too; "
            f"give --data {others[0]}=VALUE for all of them, or a table"
        )
    return _Named(found, places[0])


@dataclass(frozen=True)
class _Named:
    """Files of a folder under the name of a slot."""

    source: Source
    slot: str

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Row:
        return {self.slot: self.source[index][FILE_COLUMN]}

    def name(self, index: int) -> str:
        return str(self.source[index][FILE_COLUMN])

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.slot,)


def _needed(template: TemplatePlan, given: Mapping[str, Any], registry: Registry) -> list[str]:
    """Slots that every row must give: those of the source, and those of the target that are not generated."""
    read = {
        slot.name
        for slot in template.slots.values()
        if slot.plain is None and not (slot.side == "target" and slot.loss)
    }
    needed = needed_columns(template, registry)
    return [name for name in needed if name in read and name not in given]


def _only(needed: Sequence[str]) -> str:
    return needed[0] if len(needed) == 1 else ""


def _missing(columns: Sequence[str], plan: TaskPlan, needed: Sequence[str]) -> list[str]:
    """Columns of needed slots that are not there, neither by their own name nor by the slot's."""
    if not columns:
        return []
    names = [(plan.columns.get(slot, slot), slot) for slot in needed]
    return [
        column
        for column, slot in names
        if not begins_with(column, columns) and not begins_with(slot, columns)
    ]


def _for_reading(hint: str) -> str:
    """A hint as it is followed here, where the settings of data come by ``--read``."""
    header = "set header: false and names: [first, second]"
    here = "give --read header=false --read 'names=[first, second]'"
    return hint.replace("--set", "--read").replace(header, here)


def _check_columns(
    data: str,
    source: Source,
    plan: TaskPlan,
    needed: Sequence[str],
    kept: Sequence[str],
    config: DataConfig,
) -> None:
    missing = _missing(source.columns, plan, needed)
    if missing:
        headed = config.header and Path(data).suffix.lower() in _HEADED
        hint = _for_reading(column_hint(missing[0], source.columns, headed))
        what = f"column '{missing[0]}'" if len(missing) == 1 else f"columns {listing(missing)}"
        remedy = f"if it has another name: --read columns.{missing[0]}=NAME"
        raise UserError(f"{data} lacks {what}, which the task reads; {hint}; {remedy}")
    unknown = next((name for name in kept if source.columns and name not in source.columns), None)
    if unknown is not None:
        hint = suggest(unknown, source.columns) or f"it has {listing(source.columns)}"
        raise UserError(f"--keep: {data} has no column '{unknown}'; {hint}")
