"""Looks at data before training: the first rows as the model will see them, and every bad row with its reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape, unescape
from typing import TYPE_CHECKING, Any

from ofacore.batching.permutation import item_rng
from ofacore.encoding import slot_kinds as kinds
from ofacore.encoding.columns import is_empty_text
from ofacore.encoding.encoder import Encoder
from ofacore.encoding.filling import is_list
from ofacore.ground.excerpts import excerpt, listing
from ofacore.protocols import Example, JointRenderer, Piece, RowError, SlotPlan, Split
from ofacore.sources.base import Source, notes_of
from ofacore.sources.data_errors import BadRow, reason_at

if TYPE_CHECKING:
    from ofacore.plan import TaskPlan

SHOWN = 8
MOST_BAD = 50
"""Bad rows that the text names; the page names all."""


@dataclass(frozen=True)
class SeenSlot:
    """One column of a row, as the model sees it."""

    title: str
    """``[TYPE:name]``."""
    html: str


@dataclass(frozen=True)
class SeenRow:
    """One row, as the model sees it."""

    row_id: str
    slots: tuple[SeenSlot, ...]
    source: tuple[str, ...]
    """Positions of each source sequence, piece by piece, in words."""
    target: str
    counts: Mapping[str, int]
    """Loss term -> units, over all turns of a repeat."""


@dataclass
class DataReport:
    """What a check found."""

    instruction: str
    columns: tuple[str, ...]
    rows: int
    checked: int = 0
    seen: list[SeenRow] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What is no mistake but may not be meant."""

    @property
    def ok(self) -> bool:
        """Whether every checked row can be used."""
        return not self.bad

    @property
    def text(self) -> str:
        """The rows and problems as lines."""
        lines = [
            f"{self.rows} rows, columns {listing(self.columns)}; {self.checked} checked, {len(self.bad)} bad"
        ]
        lines += [f"note: {note}" for note in self.notes]
        for row in self.seen:
            lines += [
                f"\n{row.row_id}",
                *(f"  {slot.title}  {_plain(slot.html)}" for slot in row.slots),
            ]
            lines += [f"  positions: {'; '.join(row.source) or 'nothing'} -> {row.target}"]
        lines += [f"bad  {row.row_id}: {row.reason}" for row in self.bad[:MOST_BAD]]
        if len(self.bad) > MOST_BAD:
            lines.append(
                f"and {len(self.bad) - MOST_BAD} more bad rows, all of them in the page that --html writes"
            )
        return "\n".join(lines)

    def html(self) -> str:
        """A page that needs nothing else."""
        bad = "".join(
            f"<li><b>{escape(row.row_id)}</b>: {escape(row.reason)}</li>" for row in self.bad
        )
        return _PAGE.format(
            instruction=escape(self.instruction),
            rows=self.rows,
            checked=self.checked,
            number=len(self.bad),
            columns=escape(listing(self.columns)),
            bad=bad,
            notes="".join(f"<p>Note: {escape(note)}</p>" for note in self.notes),
            seen="".join(map(_card, self.seen)),
        )


def check_data(
    source: Source,
    plan: TaskPlan,
    encoder: Encoder,
    limit: int = 0,
    *,
    shown: int = SHOWN,
    seed: int = 1,
) -> DataReport:
    """Encode rows as training would, without drawing templates.

    Args:
        source: The rows.
        plan: Plan of the task.
        encoder: Its encoder.
        limit: Most rows to check; 0: all.
        shown: Rows that are shown.
        seed: Seed of everything that is random in them.
    """
    report = DataReport(
        plan.templates[0].text, source.columns, len(source), notes=list(notes_of(source))
    )
    values = _Values(plan)
    for found in encoded_rows(source, encoder, "valid", limit, seed):
        report.checked += 1
        if isinstance(found, BadRow):
            report.bad.append(found)
            continue
        assert found.context is not None
        values.note(found.context.row)
        if len(report.seen) < shown:
            report.seen.append(_seen(found, encoder))
    report.notes += values.problems()
    return report


class _Values:
    """Slots of a task that no row has a value for, or only the empty text."""

    def __init__(self, plan: TaskPlan) -> None:
        self._columns = {
            slot.name: plan.columns.get(slot.name, slot.name)
            for slot in plan.slots()
            if not slot.plain
        }
        self._absent, self._empty = set(self._columns), set(self._columns)
        self._rows = 0

    def note(self, row: Mapping[str, Any]) -> None:
        """Look at one more row."""
        self._rows += 1
        self._absent = {name for name in self._absent if row.get(name) is None}
        self._empty = {name for name in self._empty if is_empty_text(row.get(name))}

    def problems(self) -> list[str]:
        """What was found, in words."""
        if not self._rows:
            return []
        absent = [
            f"column '{self._columns[name]}' has no value in any row"
            for name in sorted(self._absent)
        ]
        empty = [
            f"column '{self._columns[name]}' is the empty text in every row"
            for name in sorted(self._empty)
        ]
        return absent + empty


def encoded_rows(
    source: Source, encoder: Encoder, split: Split, limit: int = 0, seed: int = 1
) -> Iterator[Example | BadRow]:
    """Rows in order, each an example with its context, or a bad row.

    Args:
        source: The rows.
        encoder: What encodes them.
        split: ``valid`` or ``test`` for the first template, ``train`` for a drawn one.
        limit: Most rows; 0: all.
        seed: Seed of everything that is random in them.
    """
    task = encoder.plan.name
    count = min(limit, len(source)) if limit else len(source)
    for index in range(count):
        name = source.name(index)
        rng = item_rng(seed, task, 0, index)
        try:
            yield encoder.encode(
                source[index], split=split, rng=rng, row_id=name, keep_context=True
            )
        except RowError as error:
            yield BadRow(task, name, reason_at(name, error))


def _seen(example: Example, encoder: Encoder) -> SeenRow:
    assert example.context is not None
    row = example.context.row
    slots = {
        slot.name: slot for slot in encoder.plan.templates[0].slots.values() if slot.plain is None
    }
    shown = [
        SeenSlot(f"[{slot.type}:{name}]", _rendered(encoder, slot, row[name], example))
        for name, slot in slots.items()
        if row.get(name) is not None
    ]
    counts = Counter[str]()
    for item in example.terms:
        counts[item.term] += item.count
    source = tuple(_in_words(sequence) for sequence in example.source)
    return SeenRow(example.row_id, tuple(shown), source, _in_words(example.target), counts)


def _rendered(encoder: Encoder, slot: SlotPlan, value: Any, example: Example) -> str:
    try:
        is_element = encoder.kinds.types[slot.type].is_element
        preprocessor = encoder.preprocessors[slot.preprocessor]
        whole = is_list(value) and not slot.repeat and not isinstance(preprocessor, JointRenderer)
        if whole and not is_element(value):
            return preprocessor.render(value, example.context)
        return kinds.shown(
            encoder.preprocessors[slot.preprocessor], value, is_element, example.context
        )
    except (RowError, TypeError, ValueError):
        return f"<code>{escape(excerpt(value, 500))}</code>"


def _plain(html: str) -> str:
    """Text of a fragment; pictures are named."""
    text = unescape(
        re.sub(
            r"<[^>]+>",
            " ",
            re.sub(r"<(img|svg).*?(/?>|</svg>)", " (picture) ", html, flags=re.DOTALL),
        )
    )
    return " ".join(text.split())[:200]


def _in_words(pieces: tuple[Piece, ...]) -> str:
    names = [
        piece.slot.name if piece.slot.plain is None else repr(piece.slot.plain) for piece in pieces
    ]
    return (
        " + ".join(f"{name} ({piece.length})" for name, piece in zip(names, pieces, strict=True))
        or "nothing"
    )


def _card(row: SeenRow) -> str:
    slots = "".join(f"<dt>{escape(slot.title)}</dt><dd>{slot.html}</dd>" for slot in row.slots)
    source = escape("; ".join(row.source) or "nothing")
    counts = ", ".join(f"{escape(term)}: {count}" for term, count in row.counts.items())
    sides = f"<p>positions: {source} &rarr; {escape(row.target)}</p><p>learned: {counts}</p>"
    return f"<section><h2>{escape(row.row_id)}</h2><dl>{slots}</dl>{sides}</section>"


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Data check</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
section{{border-top:1px solid #ccc;padding:.5rem 0}}h2{{font-size:1rem}}dt{{font-family:monospace}}
dd{{margin:0 0 .6rem 1.5rem;overflow-wrap:anywhere}}img{{max-width:100%}}</style>
<h1>Data check</h1><p><code>{instruction}</code></p>
<p>{rows} rows, columns {columns}; {checked} checked, {number} bad.</p>
{notes}<ul>{bad}</ul>{seen}</html>
"""
