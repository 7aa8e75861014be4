"""A small convolutional codec with finite scalar quantisation.

Letters in names: B pictures, C channels, Y and X pixels or cells, D numbers of a code.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ofa_modality_image.codec.codec_error import CodecError
from ofa_modality_image.codec.quantising import FiniteScalars

_RGB = 3
_GROUPS = 8
_OUTERMOST = 16
"""Channels at full resolution."""


@dataclass(frozen=True)
class CodecShape:
    """What a codec of our own is built from."""

    factor: int = 4
    """Pixels on a side of the cell that becomes one code; a power of two."""
    levels: tuple[int, ...] = (8, 5, 5, 5)
    """Levels of each number of a code; their product is the number of codes."""
    width: int = 64
    """Channels of its innermost layers; half as many at each resolution outside of them."""
    blocks: int = 2
    """Residual blocks of encoder and decoder each."""

    def __post_init__(self) -> None:
        if self.factor < 2 or self.factor & (self.factor - 1):
            raise CodecError(
                f"a codec's factor={self.factor} must be a power of two, such as 4 or 8"
            )
        if not self.levels or min(self.levels) < 2:
            written = ",".join(map(str, self.levels))
            raise CodecError(f"a codec's levels={written} must be numbers from 2, such as 8,5,5,5")
        if self.width < _GROUPS or self.width % _GROUPS:
            raise CodecError(f"a codec's width={self.width} must be a multiple of {_GROUPS}")

    @property
    def codes(self) -> int:
        """How many different codes there are."""
        return math.prod(self.levels)

    def json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "levels": list(self.levels)}


class FsqCodec(nn.Module):
    """Strided convolutions to codes, and sub-pixel convolutions (Shi et al. 2016) back."""

    def __init__(self, shape: CodecShape) -> None:
        super().__init__()
        self.shape, width = shape, shape.width
        widths = _widths(shape)
        inward = zip([_RGB, *widths[:-1]], widths, strict=True)
        outward = zip(reversed(widths), reversed([_OUTERMOST, *widths[:-1]]), strict=True)
        down = [_halving(before, behind) for before, behind in inward]
        up = [_doubling(before, behind) for before, behind in outward]
        inner = [_Block(width) for _ in range(shape.blocks)]
        outer = [_Block(width) for _ in range(shape.blocks)]
        self.encoder = nn.Sequential(*down, *inner, nn.Conv2d(width, len(shape.levels), 1))
        self.quantise = FiniteScalars(shape.levels)
        self.decoder = nn.Sequential(
            nn.Conv2d(len(shape.levels), width, 3, padding=1),
            *outer,
            *up,
            nn.Conv2d(_OUTERMOST, _RGB, 3, padding=1),
        )

    def forward(self, pixels_BCYX: Tensor) -> Tensor:
        """Pixels in -1 to 1, coded and decoded."""
        return self._decoded(self._quantised(pixels_BCYX))

    @torch.no_grad()
    def encode(self, pixels_BCYX: Tensor) -> Tensor:
        """Codes int64 [B, Y, X] of pixels in -1 to 1."""
        return self.quantise.codes(self._quantised(pixels_BCYX))  # type: ignore[no-any-return]

    @torch.no_grad()
    def decode(self, codes_BYX: Tensor) -> Tensor:
        """Pixels [B, 3, Y, X], about in -1 to 1."""
        return self._decoded(self.quantise.values(codes_BYX))

    def _quantised(self, pixels_BCYX: Tensor) -> Tensor:
        z_BYXD = self.encoder(pixels_BCYX).permute(0, 2, 3, 1)
        return self.quantise(z_BYXD)  # type: ignore[no-any-return]

    def _decoded(self, z_BYXD: Tensor) -> Tensor:
        return self.decoder(z_BYXD.permute(0, 3, 1, 2))  # type: ignore[no-any-return]


class _Block(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_GROUPS, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, states_BCYX: Tensor) -> Tensor:
        inner = functional.gelu(self.first(self.norm(states_BCYX)))
        return states_BCYX + self.second(inner)  # type: ignore[no-any-return]


def _widths(shape: CodecShape) -> list[int]:
    """Channels behind each halving, from the outermost."""
    halvings = shape.factor.bit_length() - 1
    return [max(_GROUPS, shape.width >> (halvings - 1 - number)) for number in range(halvings)]


def _halving(before: int, width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, width, 4, stride=2, padding=1),
        nn.GroupNorm(_GROUPS, width),
        nn.GELU(),
    )


def _doubling(before: int, width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, 4 * width, 3, padding=1),
        nn.PixelShuffle(2),
        nn.GroupNorm(_GROUPS, width),
        nn.GELU(),
    )
