"""Motion clips to normalised frames and back."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ofa_modality_motion.animation import gif
from ofa_modality_motion.bvh import read_bvh_skeleton, write_bvh
from ofa_modality_motion.canvas import padded, row_canvas
from ofa_modality_motion.clip import Clip, load_clip
from ofa_modality_motion.features import (
    Signatures,
    known_skeleton,
    signature_of,
    slot_dims,
    slot_features,
    slot_frames,
)
from ofa_modality_motion.forms import DEFAULT_FPS, FORMS, with_skeleton
from ofa_modality_motion.picture import data_uri
from ofa_modality_motion.skeleton import Skeleton
from ofa_modality_motion.statistics import Totals, from_artifact, joined, to_artifact
from ofacore.plugin import PluginError
from ofacore.protocols import (
    Artifact,
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

MAX_DIM = 256


class MotionPreprocessor:
    """``motion``: frames as they are, normalised with the statistics of all training clips of the same size.

    Features: ``frames`` float32 [T, max_dim], zeros behind the clip's own numbers; ``level`` int64 [T], its noise
    level, 0 here. Labels of a target: ``clean`` float32 and ``mask`` bool [T, max_dim], what is to be learned.
    """

    form = "motion"

    def __init__(self, options: Options) -> None:
        self._width = int(options.get("max_dim", MAX_DIM))
        self._signatures: Signatures = {}

    def fit(self, values: Iterable[Any], rng: np.random.Generator) -> Artifact | None:
        """`fit_columns` of values that belong to no column."""
        return self.fit_columns((("", "", value) for value in values), rng)

    def fit_columns(
        self, values: Iterable[tuple[str, str, Any]], rng: np.random.Generator
    ) -> Artifact | None:
        """Means, deviations, lengths and skeletons of all usable clips, and the size that clips of a column have.

        Bad clips are named when they are encoded.
        """
        totals: dict[int, Totals] = defaultdict(Totals)
        sizes: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
        for task, column, value in values:
            try:
                clip = self._load(value, "motion")
                features = FORMS[self.form].features(clip, None, "motion")
            except RowError:
                continue
            totals[features.shape[1]].add(features, len(features), clip.fps, clip.skeleton)
            if column:
                sizes[task, column][features.shape[1]] += 1
        return to_artifact(totals, sizes)

    def grow(
        self,
        artifact: Artifact | None,
        values: Iterable[tuple[str, SlotPlan, Any]],
        rng: np.random.Generator,
    ) -> Artifact | None:
        """Statistics of clips of sizes that the model has not seen, and which columns have them; the others stay."""
        named = ((task, slot.name, value) for task, slot, value in values)
        return joined(artifact, self.fit_columns(named, rng))

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        """No tokens."""
        return ()

    def bind(self, vocabulary: Vocabulary, artifact: Artifact | None) -> None:
        """Receive the statistics."""
        self._signatures = from_artifact(artifact)

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """One segment of shape (frames,).

        Raises:
            RowError: The value is no clip, too short, or of another size than the model knows.
        """
        clip = self._load(value, slot.name)
        found = slot_features(clip, slot, ctx, self._signatures)
        frames = padded(found.frames, self._width, slot.name)
        features = {"frames": frames, "level": np.zeros(len(frames), np.int64)}
        labels = None
        if slot.side == "target" and slot.loss:
            mask = np.zeros(frames.shape, bool)
            mask[~found.known, : found.frames.shape[1]] = True
            labels = {"clean": frames, "mask": mask}
        return [DenseSegment(features, (len(frames),), labels)]

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """The length: attribute ``length``, that of the row's own clip, or the mean length of the training clips.

        Publishes a `Canvas` for the generator under the slot's name.

        Raises:
            RowError: Nothing says how many numbers a frame has, or the row's own clip is unusable.
        """
        if ctx.split == "train":
            return TargetSpec(open=False)
        canvas = row_canvas(slot, ctx, self._signatures, self._width)
        ctx.published.put(slot.name, canvas)
        return TargetSpec(open=False, length=len(canvas.known))

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> Any:
        """float32 [frames, dims] in the caller's units; of ``motion_6d`` a dict ``frames``, ``fps``, ``skeleton``.

        Raises:
            RowError: The model knows clips of several sizes and nothing says which.
        """
        dims = slot_dims(slot, ctx, self._signatures)
        signature = signature_of(dims, self._signatures, slot.name)
        frames = signature.restore(hypothesis.value[:, :dims])
        fps = slot.attributes.get("sample_rate") or signature.fps
        return FORMS[self.form].value(frames, signature.skeleton, fps)

    def as_decoded(self, value: Any, slot: SlotPlan, ctx: RowContext) -> Any:
        """The part of a clip that the slot takes, at its rate, anchored, in the form that `decode` gives.

        Raises:
            RowError: The value is no clip, too short, or of another size than the model knows.
        """
        features, _ = slot_frames(self._load(value, slot.name), slot, ctx, self._signatures)
        signature = signature_of(features.shape[1], self._signatures, slot.name)
        fps = slot.attributes.get("sample_rate") or signature.fps
        return FORMS[self.form].value(features, signature.skeleton, fps)

    def render(self, value: Any, ctx: RowContext | None = None) -> str:
        """An ``<img>`` that moves: a stick figure where the skeleton is known, else curves."""
        return f'<img src="{data_uri(gif(self._dressed(value)), "gif")}" alt="motion">'

    def save(self, value: Any, ctx: RowContext | None, path: Path | str) -> None:
        """Write ``.gif``, ``.npy``, or ``.bvh`` where the skeleton has rotations.

        Raises:
            ValueError: Another ending, or no such skeleton.
        """
        clip, path = self._dressed(value), Path(path)
        ending = path.suffix.lower()
        if ending == ".gif":
            path.write_bytes(gif(clip))
        elif ending == ".npy":
            np.save(path, clip.frames.astype(np.float32), allow_pickle=False)
        elif ending != ".bvh":
            raise ValueError(f"'{path}': motion is written as .gif, .bvh or .npy")
        elif not isinstance(clip.skeleton, Skeleton):
            raise ValueError(
                f"'{path}': .bvh needs a skeleton with rotations, which this motion has not; try .gif or .npy"
            )
        else:
            path.write_text(
                write_bvh(clip.skeleton, clip.frames, clip.fps or DEFAULT_FPS), encoding="utf-8"
            )

    def _load(self, value: Any, column: str) -> Clip:
        return load_clip(value, column)

    def _dressed(self, value: Any) -> Clip:
        return known_skeleton(self._load(value, "motion"), self._signatures)


class Motion6dPreprocessor(MotionPreprocessor):
    """``motion_6d``: root place, root velocity and continuous 6-D rotations of a BVH skeleton.

    Option ``bvh_header``: a BVH file whose hierarchy gives meaning to clips that come without one.
    """

    form = "motion_6d"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        header = options.get("bvh_header")
        self._skeleton = _header(Path(header)) if header else None

    def _load(self, value: Any, column: str) -> Clip:
        return with_skeleton(load_clip(value, column), self._skeleton)


def _header(path: Path) -> Skeleton:
    try:
        return read_bvh_skeleton(path)
    except (OSError, ValueError) as error:
        raise PluginError(
            f"the option bvh_header of motion_6d: '{path}' cannot be read ({error})"
        ) from error
