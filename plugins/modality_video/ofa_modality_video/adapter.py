"""Frames one by one through an adapter of images.

Letters in names: T frames of a clip, S steps, C cells of a frame, H width of the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from ofa_modality_video.frame_adapter import frame_adapter
from ofa_modality_video.steps import repeated, shares, steps_of
from ofa_modality_video.time_places import TimePlaces
from ofacore.parts import to_device
from ofacore.protocols import Adapter, seen_as

if TYPE_CHECKING:
    from torch import Tensor

    from ofacore.protocols import BuildContext, Options


class VideoImageSequence(nn.Module):
    """``video_image_sequence``: every frame as a picture; positions of all frames follow one another.

    A position stands at (t, y, x), t the step in time. Where a shape has four numbers, cells of neighbouring frames
    are averaged, so that there are no more than its fourth number of steps.

    Options:
        frame_adapter: Name of an adapter of images.
        frame_options: Its options, where they differ from what it declares.
        bare: Nothing tells when a frame is; the position scheme does.
    """

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        self.options = dict(context.options)
        built, options = frame_adapter(self.options)
        make = cast(Any, built)
        self.frames = make(replace(context, options=options))
        self.time = None if self.options.get("bare") else TimePlaces(context.hidden)

    @property
    def collective(self) -> bool:
        """Whether the adapter of frames communicates in training."""
        return bool(seen_as(Adapter, self.frames).collective)

    @staticmethod
    def stored_options(options: Options) -> dict[str, Any]:
        """Options to build it again from a checkpoint: those of the adapter of frames in full."""
        built, inner = frame_adapter(options)
        stored = getattr(built, "stored_options", None)
        in_full = inner if stored is None else stored(inner)
        return {**options, "frame_options": dict(in_full)}

    @staticmethod
    def length(shape: tuple[int, ...], options: Options) -> int:
        """Steps times the positions of a frame."""
        built, inner = frame_adapter(options)
        return steps_of(shape) * built.length(shape[1:3], inner)

    @staticmethod
    def coordinates(shape: tuple[int, ...], options: Options) -> np.ndarray:
        """int64 [length, 3]: (t, y, x), frame by frame."""
        built, inner = frame_adapter(options)
        return repeated(built.coordinates(shape[1:3], inner), steps_of(shape))

    def embed(self, features: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        """States [sum of lengths, H] of all clips in order.

        Args:
            features: ``pixels`` uint8 [sum of frames * height * width * 3] and ``statistics`` int64 [sum of frames].
            shapes: (frames, height, width) of each clip, or (frames, height, width, steps).
        """
        sizes = [tuple(shape[1:3]) for shape in shapes for _ in range(shape[0])]
        states = self.frames.embed(features, sizes)
        built, inner = frame_adapter(self.options)
        counts = [shape[0] * built.length(tuple(shape[1:3]), inner) for shape in shapes]
        clips = states.split(counts)
        return torch.cat(
            [self._clip(clip, tuple(shape)) for clip, shape in zip(clips, shapes, strict=True)]
        )

    def _clip(self, states_TC_H: Tensor, shape: tuple[int, ...]) -> Tensor:
        """[S * C, H] of one clip."""
        frames, steps, hidden = shape[0], steps_of(shape), states_TC_H.shape[1]
        states = states_TC_H.view(frames, -1, hidden)
        if self.time is not None:
            states = states + self.time(frames).unsqueeze(1)
        if steps < frames:
            weights = to_device(torch.from_numpy(shares(frames, steps)), states.device)
            states = (weights.to(states.dtype) @ states.flatten(1)).view(steps, -1, hidden)
        return states.flatten(0, 1)
