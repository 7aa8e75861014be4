"""Clips to flat uint8 pixels of their frames, by the preprocessors of IMAGE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ofa_modality_video.framing import frame_context, framed
from ofa_modality_video.opening import open_clip
from ofa_modality_video.preview import moving_picture
from ofa_modality_video.settings import FRAMINGS, Settings
from ofa_modality_video.values import FramedClip
from ofacore.protocols import (
    Artifact,
    Block,
    DenseSegment,
    Hypothesis,
    Neighbour,
    Neighbours,
    Options,
    RowContext,
    Segment,
    SlotPlan,
    TargetSpec,
    Vocabulary,
)

DEFAULTS: Options = {"frames": 8, "size": 64}


class VideoPreprocessor:
    """``video``: at most ``frames`` frames, each a square of ``size`` pixels as a preprocessor of IMAGE makes it.

    Features: ``pixels`` uint8 [frames * size * size * 3], frame by frame, row by row, RGB; ``statistics`` int64
    [frames], the normalisation of each.
    """

    def __init__(self, options: Options) -> None:
        self._options = {**DEFAULTS, **options}
        self._images: Mapping[str, Neighbour] = {}

    @staticmethod
    def foreign_settings(settings: Mapping[str, Any]) -> Options:
        """OFASys calls them ``num_frames`` and ``patch_image_size``; its clips have ImageNet's normalisation."""
        names = {"frames": "num_frames", "size": "patch_image_size"}
        found: dict[str, Any] = {
            name: int(settings[theirs]) for name, theirs in names.items() if settings.get(theirs)
        }
        if settings.get("imagenet_default_mean_and_std") is True:
            found["mean_std"] = "imagenet"
        return found

    def fit(self, values: Iterable[Any], rng: np.random.Generator) -> Artifact | None:
        """Nothing is learned."""
        return None

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        """No tokens."""
        return ()

    def bind(self, vocabulary: Vocabulary, artifact: Artifact | None) -> None:
        """Never called; see `bind_with`."""
        raise RuntimeError("frames are encoded by the preprocessors of IMAGE: bind_with")

    def bind_with(
        self, vocabulary: Vocabulary, artifact: Artifact | None, others: Neighbours
    ) -> None:
        """Receive the preprocessors of pictures."""
        self._images = {name: others[name] for name in FRAMINGS}

    def handed_on(self, name: str, value: Any, slot: SlotPlan) -> Iterable[Any]:
        """The first frame.

        Raises:
            RowError: The value is no clip.
        """
        clip = open_clip(value, slot.name)
        try:
            yield from clip.shown([0.0], 0)
        finally:
            clip.close()

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """One segment of shape (frames, size, size), or (frames, size, size, steps) with ``pool``.

        Raises:
            RowError: The value is no clip, or cannot be read.
        """
        settings = Settings.of(slot, self._options, ctx, value)
        clip = value if isinstance(value, FramedClip) else framed(value, slot, ctx, settings)[0]
        clip = clip.others.get(slot.position, clip)
        encoded = [
            self._encoded(picture, clip.seed, slot, ctx, settings) for picture in clip.pictures
        ]
        shape: tuple[int, ...] = (len(encoded), settings.size, settings.size)
        if settings.pool and settings.pool < len(encoded):
            shape += (settings.pool,)
        features = {}
        for name in encoded[0].features:
            features[name] = np.concatenate([frame.features[name] for frame in encoded])
        return [DenseSegment(features, shape)]

    def _encoded(
        self, picture: Any, seed: int, slot: SlotPlan, ctx: RowContext, settings: Settings
    ) -> DenseSegment:
        """The segment of one frame; what is changed at random is changed in all of them alike."""
        surroundings = frame_context(slot, ctx, settings, seed)
        neighbour = self._images[settings.framing]
        (segment,) = neighbour.encode(picture, slot, surroundings, **settings.image)
        assert isinstance(segment, DenseSegment), "pictures become dense segments"
        return segment

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """Never called: VIDEO names no head, so it stands in no target."""
        raise NotImplementedError("VIDEO is not generated")

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> Any:
        """Never called, as `expect`."""
        raise NotImplementedError("VIDEO is not generated")

    def render(self, value: Any, ctx: RowContext | None = None) -> str:
        """An ``<img>`` that moves."""
        return moving_picture(value)
