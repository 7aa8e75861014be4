"""A small convolutional codec, whose codes are finite scalars or the vectors of a codebook.

Letters in names: B pictures, C channels, Y and X pixels or cells, D numbers of a code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ofa_modality_image.codec.codebook import Codebook
from ofa_modality_image.codec.codec_error import CodecError
from ofa_modality_image.codec.quantising import FiniteScalars

_RGB = 3
_GROUPS = 8
_OUTERMOST = 16
"""Channels at full resolution."""

FSQ, VQ = "fsq", "vq"
QUANTISERS = (FSQ, VQ)
"""Finite scalars; the vectors of a codebook."""
_OF_CODEBOOKS = ("quantiser", "codebook", "depth", "commitment")


@dataclass(frozen=True)
class CodecShape:
    """What a codec of our own is built from."""

    factor: int = 4
    """Pixels on a side of the cell that becomes one code; a power of two."""
    levels: tuple[int, ...] = (8, 5, 5, 5)
    """Of finite scalars: levels of each number of a code; their product is the number of codes."""
    width: int = 64
    """Channels of its innermost layers; half as many at each resolution outside of them."""
    blocks: int = 2
    """Residual blocks of encoder and decoder each."""
    quantiser: str = FSQ
    """What codes are, one of `QUANTISERS`."""
    codebook: int = 1024
    """Of a codebook: its vectors, which are the codes."""
    depth: int = 16
    """And the numbers of a vector."""
    commitment: float = 0.25
    """And how strongly latents are held near their vectors (beta of van den Oord et al. 2017)."""

    def __post_init__(self) -> None:
        if self.quantiser not in QUANTISERS:
            known = " or ".join(QUANTISERS)
            raise CodecError(f"a codec's quantiser={self.quantiser} must be {known}")
        if self.codebook < 2 or self.depth < 1:
            sizes = f"codebook={self.codebook} and depth={self.depth}"
            raise CodecError(f"a codec's {sizes} must be numbers from 2 and from 1")
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
        return self.codebook if self.quantiser == VQ else math.prod(self.levels)

    @property
    def channels(self) -> int:
        """Numbers of a code."""
        return self.depth if self.quantiser == VQ else len(self.levels)

    def json(self) -> dict[str, Any]:
        """Plain data: what a codec of its quantiser is built from."""
        told = {**asdict(self), "levels": list(self.levels)}
        others = ("levels",) if self.quantiser == VQ else _OF_CODEBOOKS
        return {name: value for name, value in told.items() if name not in others}

    @staticmethod
    def of(settings: Mapping[str, Any]) -> CodecShape:
        """The shape that `json` told; settings without a quantiser are of finite scalars.

        Raises:
            CodecError: Something is missing, or not of its kind.
        """
        quantiser = str(settings.get("quantiser", FSQ))
        try:
            sizes = {name: int(settings[name]) for name in ("factor", "width", "blocks")}
            if quantiser == FSQ:
                levels = tuple(int(level) for level in settings["levels"])
                return CodecShape(levels=levels, **sizes)
            sizes |= {name: int(settings[name]) for name in ("codebook", "depth")}
            commitment = float(settings["commitment"])
        except (KeyError, TypeError, ValueError) as error:
            raise CodecError(f"the settings of a codec lack or misspell {error}") from error
        return CodecShape(quantiser=quantiser, commitment=commitment, **sizes)


@dataclass(frozen=True)
class CodecPass:
    """What a codec makes of pictures."""

    pixels: Tensor
    """[B, 3, Y, X], about in -1 to 1."""
    latents: Tensor
    """[B, rows, columns, D] before they are quantised."""
    values: Tensor
    """The same behind."""


class ConvCodec(nn.Module):
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
        self.encoder = nn.Sequential(*down, *inner, nn.Conv2d(width, shape.channels, 1))
        self.quantise = _quantiser(shape)
        self.decoder = nn.Sequential(
            nn.Conv2d(shape.channels, width, 3, padding=1),
            *outer,
            *up,
            nn.Conv2d(_OUTERMOST, _RGB, 3, padding=1),
        )

    def forward(self, pixels_BCYX: Tensor) -> CodecPass:
        """Pixels in -1 to 1, coded and decoded."""
        z_BYXD = self._latents(pixels_BCYX)
        values_BYXD = self.quantise(z_BYXD)
        return CodecPass(self._decoded(values_BYXD), z_BYXD, values_BYXD)

    @torch.no_grad()
    def encode(self, pixels_BCYX: Tensor) -> Tensor:
        """Codes int64 [B, Y, X] of pixels in -1 to 1."""
        return self.quantise.codes(self.quantise(self._latents(pixels_BCYX)))

    @torch.no_grad()
    def decode(self, codes_BYX: Tensor) -> Tensor:
        """Pixels [B, 3, Y, X], about in -1 to 1."""
        return self._decoded(self.quantise.values(codes_BYX))

    def _latents(self, pixels_BCYX: Tensor) -> Tensor:
        return self.encoder(pixels_BCYX).permute(0, 2, 3, 1)  # type: ignore[no-any-return]

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


def _quantiser(shape: CodecShape) -> FiniteScalars | Codebook:
    if shape.quantiser == VQ:
        return Codebook(shape.codebook, shape.depth, shape.commitment)
    return FiniteScalars(shape.levels)


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
