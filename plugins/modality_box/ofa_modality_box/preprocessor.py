"""Boxes to binned coordinates and back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ofa_modality_box import drawing
from ofa_modality_box.geometry import Geometry, find_geometry
from ofa_modality_box.manifest import is_box
from ofa_modality_box.values import Corners, Frame, box_list, box_numbers
from ofacore.plugin import PluginError
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


class BoxPreprocessor:
    """Preprocessor of BOX: four tokens a box, (x0, y0, x1, y1) in the view that the model has of the image.

    One more token stands for "none"; such a box is four of them. With ``many`` the boxes follow each other and the
    slot ends like text.

    Options:
        bins: Number of coordinates along each side.
        min_visible: See `ofa_modality_box.transform.BoxTransform`.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.bins = int(options.get("bins", 1000))
        if self.bins < 2:
            raise PluginError(f"the preprocessor 'box' needs at least 2 bins, not {self.bins}")
        self._block = Block(f"box/bins:{self.bins}", self.bins + 1)
        self._offset = 0

    def fit(self, values: Iterable[Any], rng: np.random.Generator) -> Artifact | None:
        """Nothing to learn."""
        return None

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        """One block: the bins, and "none" behind them."""
        return (self._block,)

    @staticmethod
    def foreign_settings(settings: Mapping[str, Any]) -> Options:
        """OFASys calls the number of bins ``box_dict_size``."""
        return {"bins": int(settings["box_dict_size"])} if settings.get("box_dict_size") else {}

    def import_files(self, folder: Path, names: Sequence[str]) -> Artifact | None:
        """Nothing is needed."""
        return None

    def foreign_names(self, artifact: Artifact | None) -> Mapping[str, Sequence[tuple[str, ...]]]:
        """Bins are called ``<bin_7>`` or ``<bin>_7`` elsewhere; nobody else has "none"."""
        return {
            self._block.name: [
                *((f"<bin_{number}>", f"<bin>_{number}") for number in range(self.bins)),
                (),
            ]
        }

    def bind(self, vocabulary: Vocabulary, artifact: Artifact | None) -> None:
        """Take the place of the block in the vocabulary."""
        self._offset = vocabulary.offset(self._block.name)

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """One token segment of four tokens, or four for each box with ``many``.

        Raises:
            RowError: No box, an inverted one, one without overlap with the view, or there is no image to place it in.
        """
        frame = Frame.of(slot.attributes)
        _publish(frame, slot, ctx)
        many = bool(slot.attributes.get("many"))
        bins: list[int] = []
        for box in box_list(value) if many else [value]:
            bins += self._bins(box_numbers(box, slot.name), frame, slot, ctx)
        ids = np.array(bins, dtype=np.int64) + self._offset
        given = slot.side == "target" and not slot.loss
        weights = np.zeros(len(ids), dtype=bool) if given else None
        return [TokenSegment(ids, (self._block.name,), open=many, weights=weights)]

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """Four tokens; any number with ``many``."""
        many = bool(slot.attributes.get("many"))
        length = None if many else 4
        return TargetSpec((self._block.name,), open=many, length=length)

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> Any:
        """Four numbers in the slot's format and unit, or None for "none"; a list of boxes with ``many``.

        With ``scores`` each box is a dict ``{"box": numbers, "score": probability}``. Tokens that make no whole box
        are passed over.
        """
        frame = Frame.of(slot.attributes)
        _publish(frame, slot, ctx)
        geometry = find_geometry(frame, ctx.published, slot.name)
        found: list[tuple[list[float] | None, float]] = []
        for bins, score in self._quadruples(hypothesis):
            box = (
                None
                if self.bins in bins
                else frame.numbers(self._corners(bins, geometry), geometry.size)
            )
            found.append((box, score))
        many = slot.attributes.get("many")
        chosen = (
            [entry for entry in found if entry[0] is not None]
            if many
            else found[:1] or [(None, 0.0)]
        )
        with_scores = slot.attributes.get("scores")
        values = [{"box": box, "score": score} if with_scores else box for box, score in chosen]
        return values if many else values[0]

    def as_decoded(self, value: Any, slot: SlotPlan, ctx: RowContext) -> Any:
        """Boxes as `decode` gives them, cut to what is seen of the image but not rounded to bins.

        A box out of view stays as it is. In a slot without ``many``, a text may hold several boxes parted by ``;``.

        Raises:
            RowError: No box, an inverted one, or there is no image to place it in.
        """
        frame = Frame.of(slot.attributes)
        several = slot.attributes.get("many") or (isinstance(value, str) and ";" in value)
        if not several:
            return self._reference(value, frame, slot, ctx)
        boxes = [self._reference(box, frame, slot, ctx) for box in box_list(value)]
        return [box for box in boxes if box_numbers(box, slot.name) is not None]

    def as_compared(self, value: Any, slot: SlotPlan, ctx: RowContext) -> Any:
        """Left, top, right and bottom of each box, in pixels where it lies in an image, whatever the slot's format."""
        if not is_box(value) and isinstance(value, list):
            return [self.as_compared(box, slot, ctx) for box in value]
        if isinstance(value, dict):
            return {**value, "box": self.as_compared(value["box"], slot, ctx)}
        frame, numbers = Frame.of(slot.attributes), box_numbers(value, slot.name)
        if numbers is None:
            return None
        return list(frame.corners(numbers, find_geometry(frame, ctx.published, slot.name).size))

    def _reference(self, value: Any, frame: Frame, slot: SlotPlan, ctx: RowContext) -> Any:
        """One box in the slot's format, with the score of certainty where outputs have scores."""
        numbers = box_numbers(value, slot.name)
        if numbers is not None:
            geometry = find_geometry(frame, ctx.published, slot.name)
            corners = frame.corners(numbers, geometry.size)
            _check_upright(numbers, corners, frame, geometry, slot.name)
            seen = geometry.seen(corners)
            numbers = numbers if seen == corners else frame.numbers(seen, geometry.size)
        box = None if numbers is None else list(numbers)
        return {"box": box, "score": 1.0} if slot.attributes.get("scores") else box

    def render(self, value: Any, ctx: RowContext | None = None) -> str:
        """The box drawn on its image, or on an empty canvas where there is none."""
        return drawing.to_html(value, ctx)

    def render_all(self, values: Sequence[Any], ctx: RowContext | None = None) -> str:
        """All boxes drawn on their image."""
        return drawing.to_html(values, ctx)

    def save(self, value: Any, ctx: RowContext | None, path: Path) -> None:
        """Write the picture of `render` in the format that the file's ending names."""
        drawing.picture(value, ctx).save(Path(path))

    def _bins(
        self, numbers: Corners | None, frame: Frame, slot: SlotPlan, ctx: RowContext
    ) -> list[int]:
        if numbers is None:
            return [self.bins] * 4
        geometry = find_geometry(frame, ctx.published, slot.name)
        corners = frame.corners(numbers, geometry.size)
        _check_upright(numbers, corners, frame, geometry, slot.name)
        clip = bool(slot.attributes.get("clip"))
        _check_seen(numbers, corners, frame, geometry, slot.name, clip)
        width, height = geometry.view
        return [
            min(max(math.floor(coordinate / side * (self.bins - 1) + 0.5), 0), self.bins - 1)
            for coordinate, side in zip(
                geometry.to_view(corners), (width, height, width, height), strict=True
            )
        ]

    def _corners(self, bins: list[int], geometry: Geometry) -> Corners:
        """Corners in pixels of the original."""
        width, height = (side / (self.bins - 1) for side in geometry.view)
        x0, y0, x1, y1 = bins
        return geometry.to_original((x0 * width, y0 * height, x1 * width, y1 * height))

    def _quadruples(self, hypothesis: Hypothesis) -> Iterable[tuple[list[int], float]]:
        """(four bins, score) of every whole box among the tokens."""
        local = np.asarray(hypothesis.value, dtype=np.int64).reshape(-1) - self._offset
        mine = (local >= 0) & (local <= self.bins)
        bins = local[mine].tolist()
        known = hypothesis.log_probs is not None and len(hypothesis.log_probs) == len(local)
        log_probs = (
            np.asarray(hypothesis.log_probs)[mine]
            if known
            else np.full(len(bins), hypothesis.score)
        )
        for start in range(0, len(bins) - 3, 4):
            yield bins[start : start + 4], float(np.exp(np.mean(log_probs[start : start + 4])))


_FARTHEST_SHARE = 2.0
_TURNED = (
    "; EXIF turns this picture: boxes in the file's own grid need 'orientation=stored' in the IMAGE"
)


def _publish(frame: Frame, slot: SlotPlan, ctx: RowContext) -> None:
    """The first frame of a slot is the one that its boxes are drawn in."""
    if ctx.published.find(slot.name, Frame) is None:
        ctx.published.put(slot.name, frame)


def _check_unit(
    numbers: Corners, shown: str, frame: Frame, geometry: Geometry, column: str
) -> None:
    """Refuse shares of an image where pixels are expected, and pixels where shares are."""
    width, height = geometry.size
    fractions = all(0 <= number <= 1 for number in numbers) and not all(
        float(n).is_integer() for n in numbers
    )
    if frame.image and not frame.relative and fractions and min(width, height) > 1:
        place = f"image '{frame.image}' of {width:g} x {height:g} pixels"
        remedy = "if they are shares of its width and height, write the flag 'relative'"
        raise RowError(f"column '{column}': {shown} is less than a pixel of {place}; {remedy}")
    if frame.relative and max(map(abs, numbers)) > _FARTHEST_SHARE:
        remedy = "the slot says 'relative', so 0 to 1 is expected; leave the flag out for pixels"
        raise RowError(f"column '{column}': {shown} lies far outside of the image: {remedy}")


def _check_upright(
    numbers: Corners, corners: Corners, frame: Frame, geometry: Geometry, column: str
) -> None:
    """Refuse a box that is inverted, or in another unit."""
    x0, y0, x1, y1 = corners
    shown = _shown(numbers, frame)
    _check_unit(numbers, shown, frame, geometry, column)
    if x1 <= x0 or y1 <= y0:
        side = f"right edge {x1:g} is not right of left edge {x0:g}" if x1 <= x0 else ""
        side = side or f"bottom edge {y1:g} is not below top edge {y0:g}"
        raise RowError(
            f"column '{column}': {shown} is inverted or empty: its {side}; or is 'format=' another?"
        )


def _check_seen(
    numbers: Corners, corners: Corners, frame: Frame, geometry: Geometry, column: str, clip: bool
) -> None:
    """Refuse a box out of view, or one that reaches out of the original and is not to be cut."""
    shown = _shown(numbers, frame)
    width, height = geometry.size
    place = (
        f"image '{frame.image}' of {width:g} x {height:g} pixels"
        if frame.image
        else "the unit square"
    )
    turned = _TURNED if geometry.turned else ""
    if geometry.visible(corners) <= 0:
        raise RowError(
            f"column '{column}': {shown} does not overlap what is seen of {place}{turned}"
        )
    away = geometry.outside(corners)
    if away and not clip:
        remedy = "mend it, name another 'format=', or cut off what lies outside by the flag 'clip'"
        raise RowError(
            f"column '{column}': {shown} reaches {away:.3g} out of {place}; {remedy}{turned}"
        )


def _shown(numbers: Corners, frame: Frame) -> str:
    return f"the box {', '.join(f'{number:g}' for number in numbers)} ({frame.format})"
