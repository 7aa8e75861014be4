"""What the attributes of a slot say, read once a slot and not once a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ofa_modality_structured.continuous import ADAPTER
from ofa_modality_structured.forms import Writing
from ofacore.protocols import RowError, SlotPlan

_OF_TEXT = ("max_length", "uncased", "level", "mask_ratio", "noise_ratio", "disable_auto_boseos")
"""Attributes that the preprocessor of text gets as they are."""


@dataclass(frozen=True)
class SlotReading:
    """A slot as its structures are written."""

    slot: SlotPlan
    numbers: str
    """How numbers are read: the attribute ``numbers``."""
    writing: Writing
    as_table: Writing
    """The same in the form ``table``, for numbers that are not read as text."""
    text: Mapping[str, Any]
    """Attributes for the preprocessor of text."""
    question: str = ""
    """Slot whose text is looked for in a database; empty: none."""
    most_values: int = 2
    most: int | None = None
    """Most tokens; None: all."""

    @property
    def is_drawn(self) -> bool:
        """Whether training changes tokens at random, so that equal texts become different tokens."""
        return bool(self.text.get("mask_ratio") or self.text.get("noise_ratio"))

    @classmethod
    def of(cls, slot: SlotPlan) -> SlotReading:
        """From the attributes of a slot."""
        given = slot.attributes
        writing = Writing.of(given, slot.side)
        text = {name: given[name] for name in _OF_TEXT if given.get(name) is not None}
        return cls(
            slot,
            given.get("numbers") or "text",
            writing,
            replace(writing, form="table"),
            text,
            given.get("question") or "",
            given.get("max_values", 2),
            given.get("max_length"),
        )

    def check(self) -> None:
        """Numbers and the adapter that embeds them go together.

        Raises:
            RowError: One is there without the other.
        """
        name = self.slot.name
        if (self.numbers == "continuous") != (self.slot.adapter == ADAPTER):
            raise RowError(
                f"column '{name}': numbers=continuous and adapter={ADAPTER} belong together; write "
                f"[STRUCT:{name},numbers=continuous,adapter={ADAPTER}], or neither of them"
            )

    def check_form(self) -> None:
        """Numbers that are not read as text belong to the form ``table``.

        Raises:
            RowError: The slot asks for another.
        """
        if self.writing.form not in ("", "table"):
            raise RowError(
                f"column '{self.slot.name}': numbers={self.numbers} belongs to form=table, and the slot says "
                f"form={self.writing.form}; leave one of them out"
            )
