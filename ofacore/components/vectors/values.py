"""Arrays of numbers ``[n, width]``, read and predicted as they are: the parts of a modality without tokens.

A subclass of `ValuesPreprocessor`, an adapter of its own and the components ``squared_error`` and ``one_shot`` make a
modality that is input and output. Features of every segment: ``values`` float32 [n, width], normalised, and ``known``
float32 [n, 1], 1 where values are given and 0 where they are asked for (then ``values`` holds zeros).
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

import numpy as np

from ofacore.components.published import AskedValues
from ofacore.ground.artifacts import Artifact
from ofacore.ground.excerpts import excerpt
from ofacore.protocols import (
    Block,
    DenseSegment,
    Hypothesis,
    Options,
    RowContext,
    RowError,
    Segment,
    SlotPlan,
    TargetSpec,
    Vocabulary,
)

_FILE = "statistics.json"


def value_features(values: np.ndarray, known: bool) -> dict[str, np.ndarray]:
    """Features of given values, or of as many that are asked for."""
    shown = values if known else np.zeros_like(values)
    return {"values": shown, "known": np.full((len(values), 1), known, np.float32)}


class ValuesPreprocessor:
    """Base of preprocessors of arrays. A subclass overrides `to_array`, and `from_array` where outputs look otherwise.

    Option ``width``: numbers at each position. The slot attribute ``length``, where the slot type declares it, says how
    many positions to produce; without it as many as the row's own value has, or as training values have on average.
    """

    def __init__(self, options: Options) -> None:
        self.options, self.width = options, int(options.get("width", 1))
        self._length: int | None = None
        self._mean: np.ndarray = np.zeros(self.width, np.float32)
        self._scale: np.ndarray = np.ones(self.width, np.float32)

    def to_array(self, value: Any) -> Any:
        """Numbers [n, width] of a value.

        Raises:
            RowError: The value cannot be used; says what would be right.
        """
        return value

    def from_array(self, array: np.ndarray) -> Any:
        """The value of float32 [n, width]."""
        return array

    def fit(self, values: Iterable[Any], rng: np.random.Generator) -> Artifact | None:
        """Mean and deviation of each of the ``width`` numbers over all usable values, and their mean length."""
        arrays = []
        for value in values:
            try:
                arrays.append(self._array(value, ""))
            except RowError:
                continue
        if not arrays:
            return None
        joined = np.concatenate(arrays).astype(np.float64)
        scale = np.where(joined.std(0) > 0, joined.std(0), 1.0)
        length = max(1, round(len(joined) / len(arrays)))
        return Artifact.of_json(
            _FILE, {"mean": joined.mean(0).tolist(), "scale": scale.tolist(), "length": length}
        )

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        """No tokens."""
        return ()

    def bind(self, vocabulary: Vocabulary, artifact: Artifact | None) -> None:
        """Receive the statistics."""
        if artifact is not None:
            found: Any = artifact.json(_FILE)
            self._mean = np.asarray(found["mean"], np.float32)
            self._scale = np.asarray(found["scale"], np.float32)
            self._length = int(found["length"])

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """One segment of shape (n,); a learned one shows nothing of its values, which are its labels.

        Raises:
            RowError: The value cannot be used.
        """
        array = ((self._array(value, slot.name) - self._mean) / self._scale).astype(np.float32)
        given = value_features(array, known=True)
        if slot.side == "source" or not slot.loss:
            return [DenseSegment(given, (len(array),))]
        asked = value_features(array, known=False)
        return [DenseSegment(asked, (len(array),), labels={"values": array}, context=given)]

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """As long as the attribute ``length`` says, else the row's own value, else the mean of the training values.

        Publishes `AskedValues` for the generator.

        Raises:
            RowError: Nothing says how long.
        """
        ctx.published.put(slot.name, AskedValues(self.width))
        length = slot.attributes.get("length")
        if length is None and ctx.row.get(slot.name) is not None and not slot.repeat:
            length = len(self._array(ctx.row[slot.name], slot.name))
        if (length := length or self._length) is None:
            raise RowError(
                f"column '{slot.name}': how long it becomes is not known; write length=<number>"
            )
        return TargetSpec(open=False, length=length)

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> Any:
        """The value in the caller's units."""
        return self.from_array((hypothesis.value * self._scale + self._mean).astype(np.float32))

    def render(self, value: Any, ctx: RowContext | None = None) -> str:
        """The value as text."""
        return f"<code>{html.escape(str(value))}</code>"

    def _array(self, value: Any, column: str) -> np.ndarray:
        """float32 [n, width], checked."""
        place = f"column '{column}': " if column else ""
        try:
            array = np.asarray(self.to_array(value), np.float32)
        except RowError as error:
            raise RowError(f"{place}{error}") from error
        except (TypeError, ValueError) as error:
            raise RowError(f"{place}{excerpt(value)} is no array of numbers") from error
        if array.ndim != 2 or array.shape[1] != self.width or not len(array):
            shape = " x ".join(map(str, array.shape))
            raise RowError(
                f"{place}an array of {shape} numbers, not of one or more rows of {self.width}"
            )
        if not np.isfinite(array).all():
            raise RowError(f"{place}it holds a number that is not finite")
        return array
