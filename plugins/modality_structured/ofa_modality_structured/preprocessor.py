"""Structures to tokens of text and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ofa_modality_structured.continuous import ADAPTER, WIDTH, ColumnScales
from ofa_modality_structured.forms import Writing, shortened, written
from ofa_modality_structured.markup import as_html
from ofa_modality_structured.number_bins import ColumnBins, parts, with_digits, without_bins
from ofa_modality_structured.reading import read_back
from ofa_modality_structured.saving import save_structure
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

_NO_NUMBER = (0.0, 0.0, 0.0)
_OF_TEXT = ("max_length", "uncased", "level", "mask_ratio", "noise_ratio", "disable_auto_boseos")
"""Attributes that the preprocessor of text gets as they are."""


class StructurePreprocessor:
    """Preprocessor of STRUCT: writes a structure in one of the forms, with the tokens of the preprocessor ``text``.

    Options:
        folder: Where relative paths are looked for behind the working directory.
        bins: Most bins of a column, where a slot says ``numbers=bins``.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._folder = options.get("folder", "")
        self._most = int(options.get("bins", 64))
        self._bins: dict[str, ColumnBins] = {}
        self._scales: dict[str, ColumnScales] = {}
        self._block = Block("", 0)
        self._offset = 0
        self._text: Neighbour

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
        return [without_bins(self._write(value, slot, Lookup(folder=self._folder)))]

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """Token segments of the written value; with ``numbers=continuous`` one dense segment of tokens and numbers.

        Raises:
            RowError: It is no structure, or has no such form.
        """
        _check_adapter(slot)
        lookup = _lookup(slot, ctx, self._folder)
        if slot.attributes.get("numbers") == "continuous":
            return [self._with_numbers(value, slot, ctx, lookup)]
        text = self._write(value, slot, lookup)
        if slot.attributes.get("numbers") == "bins":
            return [self._with_bins(text, slot, ctx)]
        return self._text.encode(text, slot, ctx, **_of_text(slot))

    def _with_bins(self, text: str, slot: SlotPlan, ctx: RowContext) -> TokenSegment:
        """One run of the tokens of text and of bins."""
        ids: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
        whole = self._text.encode("", slot, ctx, **_of_text(slot))[0]
        for part in parts(text):
            if isinstance(part, int):
                ids.append(np.array([self._offset + part]))
                continue
            found = self._text.encode(part, slot, ctx, **_of_text(slot))
            ids += [segment.ids for segment in found if isinstance(segment, TokenSegment)]
        assert isinstance(whole, TokenSegment)
        run = np.concatenate(ids)[: slot.attributes.get("max_length")]
        return replace(whole, ids=run, blocks=(*whole.blocks, self._block.name))

    def _with_numbers(
        self, value: Any, slot: SlotPlan, ctx: RowContext, lookup: Lookup
    ) -> DenseSegment:
        """Tokens of text and numbers, in order."""
        text, numbers = self._numbered(value, slot, lookup)
        whole = self._text.encode("", slot, ctx, **_of_text(slot))[0]
        ids: list[int] = []
        told: list[tuple[float, float, float]] = []
        for part in parts(text):
            if isinstance(part, int):
                ids.append(UNK)
                told.append((1.0, *numbers[part]))
                continue
            own = self._text.tokens(part, slot, ctx, **_of_text(slot)).tolist()
            ids += own
            told += [_NO_NUMBER] * len(own)
        most = slot.attributes.get("max_length")
        ids, told = ids[:most], told[:most]
        if isinstance(whole, TokenSegment) and whole.boundaries:
            ids, told = [BOS, *ids, EOS], [_NO_NUMBER, *told, _NO_NUMBER]
        features = {
            "tokens": np.array(ids, np.int64),
            "numbers": np.array(told, np.float32).reshape(-1, WIDTH),
        }
        return DenseSegment(features, (len(ids),))

    def _numbered(
        self, value: Any, slot: SlotPlan, lookup: Lookup
    ) -> tuple[str, list[tuple[float, float]]]:
        """The value as text with marks in place of its numbers, and what is told of each of them."""
        structure = as_structure(value, slot.name, lookup)
        writing = Writing.of(slot.attributes, slot.side)
        if not isinstance(structure, Table):
            return written(structure, writing, slot.name), []
        _check_form(slot)
        writing = replace(writing, form="table")
        structure = shortened(structure, writing.max_rows)
        scales = self._scales.get(slot.name, ColumnScales({}))
        structure, numbers = scales.marked(structure)
        return written(structure, writing, slot.name), numbers

    def _write(self, value: Any, slot: SlotPlan, lookup: Lookup) -> str:
        if slot.attributes.get("numbers") == "continuous":
            return self._numbered(value, slot, lookup)[0]
        structure = as_structure(value, slot.name, lookup)
        numbers = slot.attributes.get("numbers")
        writing = Writing.of(slot.attributes, slot.side)
        if isinstance(structure, Table) and numbers in ("bins", "digits"):
            _check_form(slot)
            writing = replace(writing, form="table")
            structure = shortened(structure, writing.max_rows)
            if numbers == "digits":
                structure = with_digits(structure)
            else:
                structure = self._bins.get(slot.name, ColumnBins({})).marked(structure)
        return written(structure, writing, slot.name)

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """Tokens of text, any number."""
        return TargetSpec(self._text.blocks)

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> Any:
        """The value that the tokens stand for; their text where it cannot be read back."""
        text = self._text.decode(hypothesis, slot, ctx, **_of_text(slot))
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


def _check_adapter(slot: SlotPlan) -> None:
    """Numbers and the adapter that embeds them go together.

    Raises:
        RowError: One is there without the other.
    """
    continuous = slot.attributes.get("numbers") == "continuous"
    if continuous != (slot.adapter == ADAPTER):
        raise RowError(
            f"column '{slot.name}': numbers=continuous and adapter={ADAPTER} belong together; write "
            f"[STRUCT:{slot.name},numbers=continuous,adapter={ADAPTER}], or neither of them"
        )


def _check_form(slot: SlotPlan) -> None:
    form, numbers = slot.attributes.get("form"), slot.attributes["numbers"]
    if form not in (None, "table"):
        raise RowError(
            f"column '{slot.name}': numbers={numbers} belongs to form=table, and the slot says form={form}; "
            "leave one of them out"
        )


def _of_text(slot: SlotPlan) -> dict[str, Any]:
    found = {name: slot.attributes.get(name) for name in _OF_TEXT}
    return {name: value for name, value in found.items() if value is not None}


def _lookup(slot: SlotPlan, ctx: RowContext, folder: str) -> Lookup:
    """The text of the slot that ``question`` names.

    Raises:
        RowError: That slot holds no text.
    """
    name = slot.attributes.get("question")
    question = ctx.row.get(name) if name else None
    if question is None:
        return Lookup(folder=folder)
    if isinstance(question, bool) or not isinstance(question, str | int | float):
        raise RowError(
            f"column '{slot.name}': question={name} is to be a text, but column '{name}' holds a "
            f"{type(question).__name__}; name a slot that holds a text"
        )
    return Lookup(str(question), slot.attributes.get("max_values", 2), folder)
