"""Frames of a source to a quarter as many positions."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from ofa_modality_speech.shapes import SHORTEST, subsampled


class ConvolutionalSubsampling(nn.Module):
    """Two convolutions over time and frequency, kernel 3, stride 2, then a linear layer, as in OFASys.

    Args:
        bins: Numbers of a frame.
        channels: Of both convolutions.
        hidden: Width of the states, H.
    """

    def __init__(self, bins: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, channels, 3, 2), nn.ReLU(), nn.Conv2d(channels, channels, 3, 2), nn.ReLU()
        )
        self.out = nn.Sequential(nn.Linear(channels * subsampled(bins), hidden))

    def forward(self, clips: Sequence[Tensor]) -> list[Tensor]:
        """States [positions, H] of each clip [frames, bins]; what stands beside a clip changes nothing of it."""
        padded = pad_sequence(list(clips), batch_first=True)
        lacking = [max(0, SHORTEST - size) for size in padded.shape[1:]]
        padded = pad(padded, (0, lacking[1], 0, lacking[0]))
        maps = self.conv(padded[:, None])
        states = self.out(maps.transpose(1, 2).flatten(2))
        return [own[: subsampled(len(clip))] for own, clip in zip(states, clips, strict=True)]
