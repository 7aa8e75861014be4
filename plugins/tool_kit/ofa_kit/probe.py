"""A slot type of four labels, so that the slot type under test has something to be read or written with."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

import numpy as np

from ofacore.plugin import CONTRACT, Component, ModalityManifest, SlotType
from ofacore.protocols import (
    Artifact,
    Block,
    Hypothesis,
    Options,
    RowContext,
    RowError,
    Segment,
    SlotPlan,
    TargetSpec,
    TokenSegment,
    Vocabulary,
)

LABELS = 4
BLOCK = Block(f"probe/labels:{LABELS}", LABELS)


class ProbePreprocessor:
    """One token a label."""

    def __init__(self, options: Options) -> None:
        self._offset = 0

    def fit(self, values: Iterable[Any], rng: np.random.Generator) -> Artifact | None:
        """Nothing to learn."""
        return None

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        """One block of labels."""
        return (BLOCK,)

    def bind(self, vocabulary: Vocabulary, artifact: Artifact | None) -> None:
        """Take the place of the block in the vocabulary."""
        self._offset = vocabulary.offset(BLOCK.name)

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """One token.

        Raises:
            RowError: No number from 0 to 3.
        """
        if not is_label(value):
            raise RowError(
                f"column '{slot.name}': expected a number from 0 to {LABELS - 1}, got {value!r}"
            )
        return [TokenSegment(np.array([self._offset + value], np.int64), (BLOCK.name,), open=False)]

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """One token."""
        return TargetSpec((BLOCK.name,), open=False, length=1)

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> int:
        """The label."""
        return int(hypothesis.value[0]) - self._offset

    def render(self, value: Any, ctx: RowContext | None = None) -> str:
        """The number."""
        return f"<span>{escape(str(value))}</span>"


def is_label(value: Any) -> bool:
    """True for 0, 1, 2, 3."""
    return isinstance(value, int) and 0 <= value < LABELS


def label() -> int:
    """A valid value."""
    return 1


MANIFEST = ModalityManifest(
    name="probe",
    contract=CONTRACT,
    doc="Labels that the conformance suites read and write beside the slot type under test.",
    slots=(
        SlotType(
            name="PROBE",
            doc="One of four labels.",
            preprocessor="probe",
            values="a number from 0 to 3",
            is_element=is_label,
            sample="ofa_kit.probe:label",
        ),
    ),
    components=(
        Component(
            "preprocessor",
            "probe",
            "ofa_kit.probe:ProbePreprocessor",
            "One token a label.",
            {
                "adapter": "token",
                "head": "token",
                "criterion": "cross_entropy",
                "generator": "token",
            },
        ),
    ),
)
