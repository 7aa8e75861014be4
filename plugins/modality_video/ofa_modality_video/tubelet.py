"""Tubelets: blocks of pixels that reach over several frames.

Letters in names: T frames, f frames of a tubelet, Y and X pixels, p pixels of a patch, H width of the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ofa_modality_video.steps import repeated, shares, steps_of
from ofa_modality_video.time_places import TimePlaces
from ofacore.parts import to_device

if TYPE_CHECKING:
    from torch import Tensor

    from ofacore.protocols import BuildContext, Options


class VideoTubelet(nn.Module):
    """``video_tubelet``: one linear layer on blocks of ``depth`` frames and ``patch`` x ``patch`` pixels.

    The tubelet embedding of Arnab et al. 2021 (ViViT). Pixels lie between -1 and 1, whatever the slot's ``mean_std``.
    The last frame is repeated to fill the last block; what fills no patch is filled up with grey.
    """

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        self.depth, self.patch = _sides(context.options)
        self.project = nn.Linear(self.depth * self.patch**2 * 3, context.hidden)
        self.norm = nn.LayerNorm(context.hidden)
        self.time = TimePlaces(context.hidden)
        self.rows, self.columns = TimePlaces(context.hidden), TimePlaces(context.hidden)

    @staticmethod
    def length(shape: tuple[int, ...], options: Options) -> int:
        """Blocks of a clip."""
        steps, rows, columns = _blocks(shape, options)
        return steps * rows * columns

    @staticmethod
    def coordinates(shape: tuple[int, ...], options: Options) -> np.ndarray:
        """int64 [length, 3]: (t, y, x), counted in blocks."""
        steps, rows, columns = _blocks(shape, options)
        y, x = np.divmod(np.arange(rows * columns), columns)
        return repeated(np.stack([np.zeros_like(y), y, x], axis=1), steps)

    def embed(self, features: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        """States [sum of lengths, H] of all clips in order.

        Args:
            features: ``pixels`` uint8 [sum of frames * height * width * 3], RGB; ``statistics`` is not read.
            shapes: (frames, height, width) of each clip, or (frames, height, width, steps).
        """
        pixels = features["pixels"]
        pieces = pixels.split([frames * height * width * 3 for frames, height, width, *_ in shapes])
        pairs = zip(pieces, shapes, strict=True)
        blocks = [self._clip(piece, tuple(shape)) for piece, shape in pairs]
        return torch.cat(blocks)

    def _clip(self, pixels: Tensor, shape: tuple[int, ...]) -> Tensor:
        """[blocks, H] of one clip."""
        video_TYX3 = pixels.view(*shape[:3], 3).to(self.project.weight.dtype) / 127.5 - 1.0
        states = self.norm(self.project(_cut(video_TYX3, self.depth, self.patch)))
        steps, rows, columns, hidden = states.shape
        states = states + self.time(steps)[:, None, None]
        states = states + self.rows(rows)[:, None] + self.columns(columns)
        wanted = min(steps_of(shape), steps)
        if wanted < steps:
            weights = to_device(torch.from_numpy(shares(steps, wanted)), states.device)
            states = weights.to(states.dtype) @ states.flatten(1)
        return states.reshape(-1, hidden)


def _cut(video_TYX3: Tensor, depth: int, patch: int) -> Tensor:
    """[steps, rows, columns, numbers of a block]."""
    frames, height, width, _ = video_TYX3.shape
    video = functional.pad(video_TYX3, (0, 0, 0, -width % patch, 0, -height % patch))
    missing = -frames % depth
    if missing:
        video = torch.cat([video, video[-1:].expand(missing, -1, -1, -1)])
    video = video.unflatten(2, (-1, patch)).unflatten(1, (-1, patch)).unflatten(0, (-1, depth))
    return video.permute(0, 2, 4, 1, 3, 5, 6).flatten(3)


def _sides(options: Options) -> tuple[int, int]:
    return int(options["depth"]), int(options["patch"])


def _blocks(shape: tuple[int, ...], options: Options) -> tuple[int, int, int]:
    """Steps, rows and columns; with a fourth number no more steps than that."""
    depth, patch = _sides(options)
    steps = -(-shape[0] // depth)
    return min(steps, steps_of(shape)), -(-shape[1] // patch), -(-shape[2] // patch)
