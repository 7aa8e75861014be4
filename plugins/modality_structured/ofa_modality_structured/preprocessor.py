"""Structures to tokens of text and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ofa_modality_structured.forms import Writing, shortened, written
from ofa_modality_structured.markup import as_html
from ofa_modality_structured.number_bins import ColumnBins, parts, with_digits, without_bins
from ofa_modality_structured.reading import read_back
from ofa_modality_structured.saving import save_structure
from ofa_modality_structured.tables import Table
from ofa_modality_structured.values import Lookup, as_structure
from ofacore.protocols import (
    Artifact,
    Block,
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
        self._block = Block("", 0)
        self._offset = 0
        self._text: Neighbour

    def fit(self, values: Iterable[Any], rng: np.random.Generator) -> None:
        """Nothing: the preprocessor of text is fitted on what it is handed."""

    def fit_slots(
        self, values: Iterable[tuple[SlotPlan, Any]], rng: np.random.Generator
    ) -> Artifact | None:
        """Bins of the columns of slots with ``numbers=bins``; nothing where there are none."""
        tables: dict[str, list[Table]] = {}
        for slot, value in values:
            if slot.attributes.get("numbers") == "bins":
                tables.setdefault(slot.name, []).extend(_tables(value, slot, self._folder))
        if not tables:
            return None
        fitted = {name: ColumnBins.fitted(seen, self._most) for name, seen in tables.items()}
        edges = {name: dict(found.edges) for name, found in fitted.items()}
        return Artifact.of_json(_FILE, {"bins": self._most, "slots": edges})

    def grow(
        self,
        artifact: Artifact | None,
        values: Iterable[tuple[str, SlotPlan, Any]],
        rng: np.random.Generator,
    ) -> Artifact | None:
        """Bins of columns that the model has not seen; the others stay."""
        more = self.fit_slots(((slot, value) for _, slot, value in values), rng)
        if artifact is None or more is None:
            return artifact or more
        stored: Any = artifact.json(_FILE)
        slots = dict(stored["slots"])
        fresh: Any = more.json(_FILE)
        for name, edges in fresh["slots"].items():
            slots[name] = {**edges, **slots.get(name, {})}
        return Artifact.of_json(_FILE, {**stored, "slots": slots})

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        """The bins, where there are any."""
        if artifact is None:
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
        """Token segments of the written value.

        Raises:
            RowError: It is no structure, or has no such form.
        """
        text = self._write(value, slot, _lookup(slot, ctx, self._folder))
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

    def _write(self, value: Any, slot: SlotPlan, lookup: Lookup) -> str:
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
