"""Grids of numbers of any rank, to patches and back: the preprocessor that `grid_modality` announces."""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ofacore.components.grids.grid_array import (
    checked_grid,
    from_patches,
    patch_counts,
    to_patches,
    written_shape,
)
from ofacore.components.grids.grid_picture import picture
from ofacore.components.grids.modality import IsGrid, author_function, checked_axes
from ofacore.components.published import AskedValues
from ofacore.components.vectors.values import value_features
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

GRID_FILE = "grid.json"
"""What is stored with a model: patch, mean, scale, and the commonest shape of the training values."""


@dataclass(frozen=True)
class AskedGrid(AskedValues):
    """A grid that is asked for."""

    grid: tuple[int, ...] = ()
    """Its shape, in numbers."""


class GridPreprocessor:
    """Serves grids of numbers; `ofacore.parts.grid_modality` says what each option means.

    All numbers are normalised together, in the base unit. Features are those of `ofacore.parts.ValuesPreprocessor`,
    one row a patch; ``mask`` among the labels, bool [patches, numbers], is False where a patch hangs over the border.
    """

    def __init__(self, options: Options) -> None:
        self._shape, self._patch = checked_axes(
            "preprocessor of grids", options["shape"], options["patch"]
        )
        self._most = int(options["most_positions"])
        self._defaults = dict(options["attributes"])
        self._targets = {what: str(options[what]) for what in ("read", "to_base", "from_base")}
        self._mean, self._scale = np.float32(0), np.float32(1)
        self._usual: tuple[int, ...] = ()

    def fit(self, values: Iterable[Any], rng: np.random.Generator) -> Artifact | None:
        """`fit_slots` of values that belong to no slot: attributes have their defaults."""
        return self._fitted((self._defaults, value) for value in values)

    def fit_slots(
        self, values: Iterable[tuple[SlotPlan, Any]], rng: np.random.Generator
    ) -> Artifact | None:
        """Mean and deviation of the numbers of all usable values, in the base unit, and their commonest shape."""
        return self._fitted((slot.attributes, value) for slot, value in values)

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        """No tokens."""
        return ()

    def bind(self, vocabulary: Vocabulary, artifact: Artifact | None) -> None:
        """Receive what was fitted."""
        if artifact is None:
            return
        found: Any = artifact.json(GRID_FILE)
        self._patch, self._usual = tuple(found["patch"]), tuple(found["usual"])
        self._mean, self._scale = np.float32(found["mean"]), np.float32(found["scale"])

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """One segment, whose shape is that of its patches; a learned one shows nothing of its numbers.

        Raises:
            RowError: The value is no grid of the slot's shape, or too large.
        """
        grid = self._base(value, slot)
        patches = to_patches((grid - self._mean) / self._scale, self._patch).astype(np.float32)
        counts, given = patch_counts(grid.shape, self._patch), value_features(patches, known=True)
        if slot.side == "source" or not slot.loss:
            return [DenseSegment(given, counts)]
        mask = to_patches(np.ones(grid.shape, bool), self._patch)
        asked = value_features(patches, known=False)
        return [
            DenseSegment(asked, counts, labels={"values": patches, "mask": mask}, context=given)
        ]

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """As large as the slot type fixes, or its attribute ``size``, the row's own value, most training values.

        Publishes an `AskedGrid` for the generator and for `decode`.

        Raises:
            RowError: Nothing says how large, or it is too large.
        """
        shape = self._expected(slot, ctx)
        counts = patch_counts(shape, self._patch)
        self._check_positions(shape, f"column '{slot.name}': ")
        ctx.published.put(slot.name, AskedGrid(math.prod(self._patch), counts, shape))
        return TargetSpec(open=False, length=math.prod(counts))

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> Any:
        """The answer in the slot's unit."""
        shape = ctx.published.one(slot.name, AskedGrid).grid
        grid = from_patches(hypothesis.value, shape, self._patch) * self._scale + self._mean
        return self._answer(grid.astype(np.float32), slot.attributes, f"column '{slot.name}': ")

    def as_decoded(self, value: Any, slot: SlotPlan, ctx: RowContext) -> Any:
        """The value as a faultless answer would be written, nothing rounded by patches or statistics.

        Raises:
            RowError: The value is no grid of the slot's shape.
        """
        grid = self._base(value, slot).astype(np.float32)
        return self._answer(grid, slot.attributes, f"column '{slot.name}': ")

    def as_compared(self, value: Any, slot: SlotPlan, ctx: RowContext) -> Any:
        """float64 in the base unit, whatever unit the slot writes; of several grids in a list, each."""
        if (
            isinstance(value, list)
            and value
            and all(isinstance(part, np.ndarray) for part in value)
        ):
            return [self._base(part, slot) for part in value]
        return self._base(value, slot)

    def render(self, value: Any, ctx: RowContext | None = None) -> str:
        """A picture: each number a cell, from the smallest to the largest."""
        try:
            return picture(checked_grid(self._read(value), self._shape))
        except RowError:
            return f"<code>{html.escape(excerpt(value))}</code>"

    def _fitted(self, values: Iterable[tuple[Mapping[str, Any], Any]]) -> Artifact:
        """Sums are kept in place of the numbers, so that a large table needs no more memory than a small one."""
        shapes: Counter[tuple[int, ...]] = Counter()
        count, mean, squares = 0, 0.0, 0.0
        for attributes, value in values:
            try:
                grid = self._checked(value, attributes)
            except RowError:
                continue
            shapes[grid.shape] += 1
            total = count + grid.size
            apart = float(grid.mean()) - mean
            squares += float(grid.var()) * grid.size + apart**2 * count * grid.size / total
            mean, count = mean + apart * grid.size / total, total
        usual = list(shapes.most_common(1)[0][0]) if shapes else []
        scale = math.sqrt(squares / count) if squares > 0 else 1.0
        found = {"patch": list(self._patch), "mean": mean, "scale": scale, "usual": usual}
        return Artifact.of_json(GRID_FILE, found)

    def _base(self, value: Any, slot: SlotPlan) -> np.ndarray:
        """float64 in the base unit; errors name the column."""
        try:
            return self._checked(value, slot.attributes)
        except RowError as error:
            raise RowError(f"column '{slot.name}': {error}") from error

    def _checked(self, value: Any, attributes: Mapping[str, Any]) -> np.ndarray:
        grid = checked_grid(self._read(value), self._shape)
        self._check_positions(grid.shape)
        if not self._targets["to_base"]:
            return grid
        based = checked_grid(
            self._call("to_base", grid, {**self._defaults, **attributes}), self._shape
        )
        if based.shape != grid.shape:
            raise RowError(
                f"to_base made {written_shape(based.shape)} of {written_shape(grid.shape)} numbers"
            )
        return based

    def _read(self, value: Any) -> Any:
        return self._call("read", value) if self._targets["read"] else value

    def _answer(self, grid: np.ndarray, attributes: Mapping[str, Any], place: str) -> Any:
        if not self._targets["from_base"]:
            return grid
        try:
            return self._call("from_base", grid, {**self._defaults, **attributes})
        except RowError as error:
            raise RowError(f"{place}{error}") from error

    def _call(self, what: str, *arguments: Any) -> Any:
        """What the author's function makes of a value; what it refuses makes the row bad."""
        function = author_function(what, self._targets[what])
        try:
            with np.errstate(all="ignore"):
                return function(*arguments)
        except RowError:
            raise
        except (TypeError, ValueError) as error:
            raise RowError(f"{excerpt(arguments[0])} is refused: {error}") from error

    def _expected(self, slot: SlotPlan, ctx: RowContext) -> tuple[int, ...]:
        fixed = tuple(size for size in self._shape if size is not None)
        if len(fixed) == len(self._shape):
            return fixed
        if written := slot.attributes.get("size"):
            return self._size(str(written), slot.name)
        own = ctx.row.get(slot.name)
        if own is not None and not slot.repeat:
            several = isinstance(own, list) and bool(own) and not IsGrid(len(self._shape))(own)
            first = own[0] if several else own
            return self._base(first, slot).shape
        if not self._usual:
            raise RowError(
                f"column '{slot.name}': how large it becomes is not known; write size={self._example()}"
            )
        return self._usual

    def _size(self, written: str, column: str) -> tuple[int, ...]:
        parts = written.lower().split("x")
        sizes = tuple(int(part) for part in parts if part.strip().isdecimal() and int(part) > 0)
        fits = len(sizes) == len(parts) == len(self._shape)
        if not fits or any(
            own not in (None, size) for own, size in zip(self._shape, sizes, strict=True)
        ):
            raise RowError(
                f"column '{column}': size={excerpt(written)} fits no grid of {written_shape(self._shape)} numbers; "
                f"write it as {self._example()}"
            )
        return sizes

    def _example(self) -> str:
        return "x".join(str(size or 4) for size in self._shape)

    def _check_positions(self, shape: Sequence[int], place: str = "") -> None:
        positions = math.prod(patch_counts(shape, self._patch))
        if positions > self._most:
            raise RowError(
                f"{place}a grid of {written_shape(shape)} numbers takes {positions:,} positions, more than "
                f"{self._most:,}; take a larger patch, or raise the option most_positions of the preprocessor"
            )
