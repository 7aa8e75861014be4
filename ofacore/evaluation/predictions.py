"""What was answered for each held-out row, as it is kept in a run: for comparing runs and for looking at mistakes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ofacore.decoding.output import Field, Output
from ofacore.evaluation.judging import Judging
from ofacore.evaluation.references import Reference, undisturbed
from ofacore.evaluation.report import ScoreRow
from ofacore.protocols import RowContext

LARGEST = 1000
"""Numbers of an array that are kept; of a larger one its shape is."""


@dataclass(frozen=True)
class Prediction:
    """One held-out row. Values and references are those that metrics compare."""

    row: str
    """Where a user finds the row."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Target slot -> what was generated."""
    references: Mapping[str, Any] = field(default_factory=dict)
    """Target slot -> what was expected; a list where the row gives several, of which any will do."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Metric -> its number for this row, where it has one."""
    confidences: Mapping[str, float] = field(default_factory=dict)
    """Target slot -> probability of the value that was generated, where its generator tells one."""
    closed: Sequence[str] = ()
    """Target slots that were chosen from a closed set."""
    log_prob: float | None = None
    """Of the whole answer."""
    problem: str = ""
    """Why there is no answer; empty where there is one."""

    def plain(self) -> dict[str, Any]:
        """As JSON has it; what is empty is left out."""
        found = {
            "row": self.row,
            "values": {name: _kept(value) for name, value in self.values.items()},
            "references": {name: _kept(value) for name, value in self.references.items()},
            "scores": {name: one for name, one in self.scores.items() if math.isfinite(one)},
            "confidences": dict(self.confidences),
            "closed": list(self.closed),
            "log_prob": self.log_prob,
            "problem": self.problem,
        }
        return {key: value for key, value in found.items() if value not in ("", None, {}, [])}

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Prediction:
        """From what `plain` gave."""
        return cls(**found)


def predictions_of(
    judging: Judging, outputs: Sequence[Output], scores: Sequence[Mapping[str, float]]
) -> list[Prediction]:
    """Answered rows with their outputs, and the numbers that metrics have for each."""
    found = []
    closed = _closed_slots(outputs[0]) if outputs else []
    for number, (row, output) in enumerate(zip(judging.rows, outputs, strict=True)):
        references = judging.references[number]
        found.append(
            Prediction(
                row.name,
                judging.predictions[number],
                {n: one.value for n, one in references.items() if isinstance(one, Reference)},
                scores[number],
                _confidences(output),
                closed,
                output.log_prob,
            )
        )
    return found


def _closed_slots(output: Output) -> list[str]:
    """Target slots whose values are chosen from a closed set, those inside of a repeat left out."""
    ctx = undisturbed(output.context)
    return [n for n, one in output.fields.items() if not one.repeated and _is_closed(one, ctx)]


def _is_closed(entry: Field, ctx: RowContext) -> bool:
    try:
        return bool(entry.preprocessor.expect(entry.slot, ctx).closed_set)
    except Exception:  # anybody's code: scores must not be lost with it
        return False


def _confidences(output: Output) -> dict[str, float]:
    """Slot -> probability of its value, those inside of a repeat left out."""
    fields = {name: one for name, one in output.fields.items() if one.turns and not one.repeated}
    logs = {name: one.turns[0][0].log_prob for name, one in fields.items()}
    return {name: math.exp(min(0.0, log)) for name, log in logs.items() if log is not None}


def mistakes(
    predictions: Sequence[Prediction], decisive: ScoreRow | None, most: int
) -> list[tuple[int, str]]:
    """Numbers of the worst answers by a metric, those that the model was surest of first, and what to say of each."""
    if decisive is None:
        return []
    sign = 1.0 if decisive.higher_is_better else -1.0
    perfect = 1.0 if decisive.higher_is_better else 0.0
    worth = {
        number: sign * one.scores[decisive.metric]
        for number, one in enumerate(predictions)
        if decisive.metric in one.scores
    }
    wrong = [number for number, value in worth.items() if value < perfect]
    wrong.sort(key=lambda number: (worth[number], -_sureness(predictions[number])))
    return [(number, _said(predictions[number], decisive)) for number in wrong[:most]]


def _sureness(one: Prediction) -> float:
    return -math.inf if one.log_prob is None else one.log_prob


def _said(one: Prediction, decisive: ScoreRow) -> str:
    told = f"{one.row}: {decisive.metric} {one.scores[decisive.metric]:.3g}"
    for name, confidence in one.confidences.items():
        told += f", {name} with probability {confidence:.2g}"
    return told


def _kept(value: Any) -> Any:
    """A value of bearable size: large arrays are told by their shape."""
    if isinstance(value, np.ndarray) and value.size > LARGEST:
        return f"{value.dtype} {list(value.shape)}"
    if isinstance(value, Mapping):
        return {name: _kept(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_kept(one) for one in value]
    return value
