"""Structures to tokens of text and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ofa_modality_structured.forms import Writing, written
from ofa_modality_structured.markup import as_html
from ofa_modality_structured.reading import read_back
from ofa_modality_structured.saving import save_structure
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
    Vocabulary,
)

_OF_TEXT = ("max_length", "uncased", "level", "mask_ratio", "noise_ratio", "disable_auto_boseos")
"""Attributes that the preprocessor of text gets as they are."""


class StructurePreprocessor:
    """Preprocessor of STRUCT: writes a structure in one of the forms, with the tokens of the preprocessor ``text``.

    Options:
        folder: Where relative paths are looked for behind the working directory.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._folder = options.get("folder", "")
        self._text: Neighbour

    def fit(self, values: Iterable[Any], rng: np.random.Generator) -> None:
        """Nothing: the preprocessor of text is fitted on what it is handed."""

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        """None of its own."""
        return ()

    def bind(self, vocabulary: Vocabulary, artifact: Artifact | None) -> None:
        """Never called; see `bind_with`."""
        raise RuntimeError("a structure is written with the tokens of text: bind_with")

    def bind_with(
        self, vocabulary: Vocabulary, artifact: Artifact | None, others: Neighbours
    ) -> None:
        """Receive the preprocessor of text."""
        self._text = others["text"]

    def handed_on(self, name: str, value: Any, slot: SlotPlan) -> Iterable[Any]:
        """The text that a value becomes, without cell values of a question.

        Raises:
            RowError: The value cannot be used.
        """
        return [_write(value, slot, Lookup(folder=self._folder))]

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """Token segments of the written value.

        Raises:
            RowError: It is no structure, or has no such form.
        """
        text = _write(value, slot, _lookup(slot, ctx, self._folder))
        return self._text.encode(text, slot, ctx, **_of_text(slot))

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


def _write(value: Any, slot: SlotPlan, lookup: Lookup) -> str:
    structure = as_structure(value, slot.name, lookup)
    return written(structure, Writing.of(slot.attributes, slot.side), slot.name)


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
