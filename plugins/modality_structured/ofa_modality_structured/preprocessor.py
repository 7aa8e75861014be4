"""Structures to tokens of text and back."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ofa_modality_structured.continuous import WIDTH, ColumnScales
from ofa_modality_structured.forms import shortened, written
from ofa_modality_structured.markup import as_html
from ofa_modality_structured.number_bins import ColumnBins, parts, with_digits, without_bins
from ofa_modality_structured.reading import read_back
from ofa_modality_structured.saving import save_structure
from ofa_modality_structured.slot_reading import SlotReading
from ofa_modality_structured.tables import Table
from ofa_modality_structured.values import Lookup, as_structure
from ofacore.protocols import (
    BOS,
    EOS,
    UNK,
    Artifact,
    Block,
    DenseSegment,
    Hypothesis,
    Neighbour,
    Neighbours,
    RowContext,
    RowError,
    Segment,
    SlotPlan,
    TargetSpec,
    TokenSegment,
    Vocabulary,
)

_FILE = "bins.json"
_SCALES = "scales.json"

_KEPT_SLOTS = 64
"""Most slots whose attributes are remembered."""


class StructurePreprocessor:
    """Preprocessor of STRUCT: writes a structure in one of the forms, with the tokens of the preprocessor ``text``.

    Options:
        folder: Where relative paths are looked for behind the working directory.
        bins: Most bins of a column, where a slot says ``numbers=bins``.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._folder = options.get("folder", "")
        self._plain_lookup = Lookup(folder=self._folder)
        self._most = int(options.get("bins", 64))
        self._bins: dict[str, ColumnBins] = {}
        self._scales: dict[str, ColumnScales] = {}
        self._block = Block("", 0)
        self._offset = 0
        self._text: Neighbour
        self._read: dict[int, SlotReading] = {}
        """Address of a slot -> what its attributes say."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_read": {}}

    def fit(self, values: Iterable[Any], rng: np.random.Generator) -> None:
        """Nothing: the preprocessor of text is fitted on what it is handed."""

    def fit_slots(
        self, values: Iterable[tuple[SlotPlan, Any]], rng: np.random.Generator
    ) -> Artifact | None:
        """Bins and scales of the columns of slots with ``numbers=bins`` and ``continuous``; nothing without any."""
        tables: dict[tuple[str, str], list[Table]] = {}
        for slot, value in values:
            manner = slot.attributes.get("numbers")
            if manner in ("bins", "continuous"):
                found = _tables(value, slot, self._folder)
                tables.setdefault((manner, slot.name), []).extend(found)
        files: dict[str, dict[str, Any]] = {}
        for (manner, name), seen in tables.items():
            if manner == "bins":
                own = files.setdefault(_FILE, {"bins": self._most, "slots": {}})
                own["slots"][name] = dict(ColumnBins.fitted(seen, self._most).edges)
            else:
                own = files.setdefault(_SCALES, {"slots": {}})
                own["slots"][name] = dict(ColumnScales.fitted(seen).scales)
        return _stored(files)

    def grow(
        self,
        artifact: Artifact | None,
        values: Iterable[tuple[str, SlotPlan, Any]],
        rng: np.random.Generator,
    ) -> Artifact | None:
        """Bins and scales of columns that the model has not seen; the others stay."""
        more = self.fit_slots(((slot, value) for _, slot, value in values), rng)
        if artifact is None or more is None:
            return artifact or more
        files: dict[str, Any] = {name: artifact.json(name) for name in artifact.files}
        for name in more.files:
            fresh: Any = more.json(name)
            known = files.setdefault(name, {**fresh, "slots": {}})
            for slot, columns in fresh["slots"].items():
                known["slots"][slot] = {**columns, **known["slots"].get(slot, {})}
        return _stored(files)

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        """The bins, where there are any."""
        if artifact is None or _FILE not in artifact.files:
            return ()
        size = artifact.json(_FILE)["bins"]
        return (Block(f"structure/bins:{size}", size),)

    def bind(self, vocabulary: Vocabulary, artifact: Artifact | None) -> None:
        """Never called; see `bind_with`."""
        raise RuntimeError("a structure is written with the tokens of text: bind_with")

    def bind_with(
        self, vocabulary: Vocabulary, artifact: Artifact | None, others: Neighbours
    ) -> None:
        """Receive the preprocessor of text, and the place of the bins."""
        self._text = others["text"]
        if artifact is None:
            return
        if _SCALES in artifact.files:
            scales = artifact.json(_SCALES)["slots"]
            self._scales = {name: ColumnScales(found) for name, found in scales.items()}
        if _FILE not in artifact.files:
            return
        (self._block,) = self.blocks(artifact)
        self._offset = vocabulary.offset(self._block.name)
        edges = artifact.json(_FILE)["slots"]
        self._bins = {name: ColumnBins(found) for name, found in edges.items()}

    def handed_on(self, name: str, value: Any, slot: SlotPlan) -> Iterable[Any]:
        """The text that a value becomes, without cell values of a question and without bins.

        Raises:
            RowError: The value cannot be used.
        """
        return [without_bins(self._write(value, self._reading(slot), self._plain_lookup))]

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """Token segments of the written value; with ``numbers=continuous`` one dense segment of tokens and numbers.

        Raises:
            RowError: It is no structure, or has no such form.
        """
        reading = self._reading(slot)
        reading.check()
        lookup = self._lookup(reading, ctx)
        if reading.numbers == "continuous":
            return [self._with_numbers(value, reading, ctx, lookup)]
        text = self._write(value, reading, lookup)
        if reading.numbers == "bins":
            return [self._with_bins(text, reading, ctx)]
        return self._text.encode(text, slot, ctx, **reading.text)

    def _reading(self, slot: SlotPlan) -> SlotReading:
        known = self._read.get(id(slot))
        if known is not None and known.slot is slot:
            return known
        if len(self._read) >= _KEPT_SLOTS:
            self._read.clear()
        found = self._read[id(slot)] = SlotReading.of(slot)
        return found

    def _lookup(self, reading: SlotReading, ctx: RowContext) -> Lookup:
        """The text of the slot that ``question`` names.

        Raises:
            RowError: That slot holds no text.
        """
        name = reading.question
        question = ctx.row.get(name) if name else None
        if question is None:
            return self._plain_lookup
        if isinstance(question, bool) or not isinstance(question, str | int | float):
            raise RowError(
                f"column '{reading.slot.name}': question={name} is to be a text, but column '{name}' holds a "
                f"{type(question).__name__}; name a slot that holds a text"
            )
        return Lookup(str(question), reading.most_values, self._folder)

    def _with_bins(self, text: str, reading: SlotReading, ctx: RowContext) -> TokenSegment:
        """One run of the tokens of text and of bins."""
        whole = self._text.encode("", reading.slot, ctx, **reading.text)[0]
        assert isinstance(whole, TokenSegment)
        ids, places, numbers = self._parted(text, reading, ctx)
        for place, number in zip(places, numbers, strict=True):
            ids[place] = self._offset + number
        run = np.array(ids, np.int64)[: reading.most]
        return replace(whole, ids=run, blocks=(*whole.blocks, self._block.name))

    def _with_numbers(
        self, value: Any, reading: SlotReading, ctx: RowContext, lookup: Lookup
    ) -> DenseSegment:
        """Tokens of text and numbers, in order."""
        text, told = self._numbered(value, reading, lookup)
        whole = self._text.encode("", reading.slot, ctx, **reading.text)[0]
        found, places, numbers = self._parted(text, reading, ctx)
        ids, before = found[: reading.most], 0
        kept = bisect_left(places, len(ids))
        if isinstance(whole, TokenSegment) and whole.boundaries:
            ids, before = [BOS, *ids, EOS], 1
        features = np.zeros((len(ids), WIDTH), np.float32)
        if kept:
            rows = np.array(places[:kept]) + before
            features[rows] = [(1.0, *told[number]) for number in numbers[:kept]]
        return DenseSegment({"tokens": np.array(ids, np.int64), "numbers": features}, (len(ids),))

    def _parted(
        self, text: str, reading: SlotReading, ctx: RowContext
    ) -> tuple[list[int], list[int], list[int]]:
        """Ids of a text with marked numbers, ``<unk>`` for each of these; their places; what the marks say."""
        ids: list[int] = []
        places: list[int] = []
        numbers: list[int] = []
        known: dict[str, list[int]] = {}
        drawn = reading.is_drawn and ctx.split == "train"
        for part in parts(text):
            if isinstance(part, int):
                places.append(len(ids))
                numbers.append(part)
                ids.append(UNK)
                continue
            own = known.get(part)
            if own is None or drawn:
                own = self._text.tokens(part, reading.slot, ctx, **reading.text).tolist()
                known[part] = own
            ids += own
        return ids, places, numbers

    def _numbered(
        self, value: Any, reading: SlotReading, lookup: Lookup
    ) -> tuple[str, list[tuple[float, float]]]:
        """The value as text with marks in place of its numbers, and what is told of each of them."""
        column = reading.slot.name
        structure = as_structure(value, column, lookup)
        if not isinstance(structure, Table):
            return written(structure, reading.writing, column), []
        reading.check_form()
        structure = shortened(structure, reading.as_table.max_rows)
        scales = self._scales.get(column, ColumnScales({}))
        structure, numbers = scales.marked(structure)
        return written(structure, reading.as_table, column), numbers

    def _write(self, value: Any, reading: SlotReading, lookup: Lookup) -> str:
        numbers, column = reading.numbers, reading.slot.name
        if numbers == "continuous":
            return self._numbered(value, reading, lookup)[0]
        structure = as_structure(value, column, lookup)
        if numbers == "text" or not isinstance(structure, Table):
            return written(structure, reading.writing, column)
        reading.check_form()
        structure = shortened(structure, reading.as_table.max_rows)
        if numbers == "digits":
            structure = with_digits(structure)
        else:
            structure = self._bins.get(column, ColumnBins({})).marked(structure)
        return written(structure, reading.as_table, column)

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """Tokens of text, any number."""
        return TargetSpec(self._text.blocks)

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> Any:
        """The value that the tokens stand for; their text where it cannot be read back."""
        text = self._text.decode(hypothesis, slot, ctx, **self._reading(slot).text)
        return read_back(text, slot.attributes.get("form") or "json")

    def render(self, value: Any, ctx: RowContext | None = None) -> str:
        """A table of HTML; of a database one for each table; of anything else its text."""
        return as_html(value)

    def save(self, value: Any, ctx: RowContext | None, path: Path) -> None:
        """Write the value as .json, .csv or .txt.

        Raises:
            ValueError: Another ending, or a value that has no rows for a .csv.
        """
        save_structure(value, path)


def _tables(value: Any, slot: SlotPlan, folder: str) -> list[Table]:
    """The table that a value is; none where it is a database, or cannot be used, which encoding tells."""
    try:
        structure = as_structure(value, slot.name, Lookup(folder=folder))
    except RowError:
        return []
    return [structure] if isinstance(structure, Table) else []


def _stored(files: Mapping[str, Any]) -> Artifact | None:
    if not files:
        return None
    parts_of = [Artifact.of_json(name, content) for name, content in files.items()]
    return Artifact({name: content for part in parts_of for name, content in part.files.items()})
