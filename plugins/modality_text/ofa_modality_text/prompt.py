"""Prompts that are learned: positions of the source that stand for no value of the row (Lester et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ofacore.protocols import (
    Artifact,
    Block,
    DenseSegment,
    Hypothesis,
    RowContext,
    RowError,
    Segment,
    SlotPlan,
    TargetSpec,
    Vocabulary,
)

_READ_ONLY = "is read, never written: a learned prompt stands in the source"


class FillPrompts:
    """Row transform: rows need no column for a prompt."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        pass

    def __call__(
        self, row: dict[str, Any], slots: Sequence[SlotPlan], ctx: RowContext
    ) -> dict[str, Any]:
        """The row, with a name as the value of each prompt that it lacks."""
        return {**{slot.name: slot.name for slot in slots}, **row}


class PromptPreprocessor:
    """Preprocessor of PROMPT, ``prompt``: numbers of learned vectors, whatever the row says."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._vectors = int(options["vectors"])

    def fit(self, values: Iterable[Any], rng: np.random.Generator) -> Artifact | None:
        """There is nothing to fit."""
        return None

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        """No tokens."""
        return ()

    def bind(self, vocabulary: Vocabulary, artifact: Artifact | None) -> None:
        """Nothing is needed of the vocabulary."""

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """Numbers ``first`` to ``first + length``.

        Raises:
            RowError: The slot is a target, or asks for vectors that the model does not have.
        """
        if slot.side == "target":
            raise RowError(f"[PROMPT:{slot.name}] {_READ_ONLY}")
        first, length = int(slot.attributes["first"]), int(slot.attributes["length"])
        if first + length > self._vectors:
            asked = f"[PROMPT:{slot.name}] asks for vectors {first} to {first + length - 1}"
            remedy = "options: {preprocessor/prompt: {vectors: ...}}"
            raise RowError(f"{asked}, the model has {self._vectors}; set {remedy}")
        numbers = np.arange(first, first + length, dtype=np.int64)
        return [DenseSegment({"number": numbers}, (length,))]

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """Raises RowError: it cannot be generated."""
        raise RowError(f"[PROMPT:{slot.name}] {_READ_ONLY}")

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> Any:
        """Raises RowError: it cannot be generated."""
        raise RowError(f"[PROMPT:{slot.name}] {_READ_ONLY}")

    def render(self, value: Any, ctx: RowContext | None = None) -> str:
        """Nothing that a person could read."""
        return "<i>learned prompt</i>"
