"""Frames to positions: a quarter as many of a source, one for each step of a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import nn

from ofa_modality_speech.foreign import line_of, reading_options
from ofa_modality_speech.frame_embedding import FrameEmbedding
from ofa_modality_speech.shapes import positions_of
from ofa_modality_speech.subsampling import ConvolutionalSubsampling
from ofacore.plugin import PluginError

if TYPE_CHECKING:
    from torch import Tensor

    from ofacore.protocols import BuildContext, Options


class AudioAdapter(nn.Module):
    """``audio_fbank``: convolutions over what is read, an MLP over what is written.

    With ``bare`` it is the adapter of OFASys, as far as that reads: nothing embeds a target.
    """

    axes: ClassVar[int] = 1

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        options, hidden = context.options, context.hidden
        self._bins = int(options["bins"])
        self.line = line_of(options["line"])
        channels = int(options["channels"]) or hidden
        self.subsample = ConvolutionalSubsampling(self._bins, channels, hidden)
        self.mask_emb = nn.Parameter(torch.empty(hidden).uniform_())
        if not options["bare"]:
            self.frames = FrameEmbedding(self._bins * int(options["max_frames_per_step"]), hidden)

    @staticmethod
    def foreign_options(
        shapes: Mapping[str, tuple[int, ...]], settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        """See `ofacore.protocols.ForeignAdapter`."""
        return reading_options(shapes, settings)

    @staticmethod
    def length(shape: tuple[int, ...], options: Options) -> int:
        """About a quarter of the frames of a source; ceil(frames / step) of a target."""
        return positions_of(shape)

    @staticmethod
    def coordinates(shape: tuple[int, ...], options: Options) -> np.ndarray:
        """int64 [positions, 3]: (i, i, i)."""
        return np.repeat(np.arange(positions_of(shape))[:, None], 3, axis=1)

    def embed(self, features: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        """States [sum of positions, H].

        Args:
            features: ``frames`` [sum of frames, bins] and ``level`` [sum of positions], the share of noise; of a source
                1 where a position is hidden.
            shapes: (frames,) of a source, (frames, frames a position) of a target.

        Raises:
            ValueError: The preprocessor makes other frames.
        """
        frames = features["frames"]
        if frames.shape[1] != self._bins:
            raise ValueError(
                f"adapter audio_fbank: frames of {frames.shape[1]} numbers, option bins={self._bins}; "
                "preprocessor, adapter and head need the same bins"
            )
        clips = frames.split([shape[0] for shape in shapes])
        levels = features["level"].split([positions_of(shape) for shape in shapes])
        found: dict[int, Tensor] = {}
        for route in (self._read, self._written):
            found |= route(clips, levels, shapes)
        return torch.cat([found[number] for number in range(len(shapes))])

    def _read(
        self,
        clips: Sequence[Tensor],
        levels: Sequence[Tensor],
        shapes: Sequence[tuple[int, ...]],
    ) -> dict[int, Tensor]:
        """Number of a segment -> states, of those that belong to a source."""
        numbers = [number for number, shape in enumerate(shapes) if len(shape) == 1]
        if not numbers:
            return {}
        dtype = self.mask_emb.dtype
        states = self.subsample([clips[number].to(dtype) for number in numbers])
        hidden = [levels[number][:, None] > 0 for number in numbers]
        masked = [
            torch.where(gone, self.mask_emb, own) for gone, own in zip(hidden, states, strict=True)
        ]
        return dict(zip(numbers, masked, strict=True))

    def _written(
        self,
        clips: Sequence[Tensor],
        levels: Sequence[Tensor],
        shapes: Sequence[tuple[int, ...]],
    ) -> dict[int, Tensor]:
        """Number of a segment -> states, of those that belong to a target."""
        numbers = [number for number, shape in enumerate(shapes) if len(shape) == 2]
        if not numbers:
            return {}
        if not hasattr(self, "frames"):
            raise PluginError(
                "adapter audio_fbank: option bare=true, as of a model of OFASys, leaves out what embeds a target; "
                "write [AUDIO:x,preprocess=audio_steps], or set options.adapter/audio_fbank.bare=false"
            )
        states = self.frames(
            [clips[number] for number in numbers],
            [levels[number] for number in numbers],
            [shapes[number][1] for number in numbers],
        )
        return dict(zip(numbers, states, strict=True))
