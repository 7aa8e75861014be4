"""Adapters that turn pixels into positions with few parameters: convolutions and linear patches.

Letters in names: B pictures of one shape, C channels, Y and X cells, H width of the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ofa_modality_image.grid import cells, grid_coordinates
from ofa_modality_image.normalisation import DEVIATIONS, MEANS

if TYPE_CHECKING:
    from torch import Tensor

    from ofacore.protocols import BuildContext, Options

_BANDS = 6


class PictureAdapter(nn.Module):
    """Unpacks pictures, groups those of equal shape, adds what tells a cell where it is.

    A subclass sets ``stride_option`` or `stride`, and gives `states`.
    """

    stride_option = "stride"

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        self.options = dict(context.options)
        self.position = nn.Linear(4 * _BANDS, context.hidden)
        self.register_buffer("scales", 1.0 / (255.0 * torch.tensor(DEVIATIONS)), persistent=False)
        self.register_buffer("offsets", -torch.tensor(MEANS) / torch.tensor(DEVIATIONS), persistent=False)

    @classmethod
    def stride(cls, options: Options) -> int:
        """Pixels from one position to the next."""
        return int(options[cls.stride_option])

    @classmethod
    def length(cls, shape: tuple[int, ...], options: Options) -> int:
        """One position for every cell of stride x stride pixels."""
        rows, columns = cells(shape, cls.stride(options))
        return rows * columns

    @classmethod
    def coordinates(cls, shape: tuple[int, ...], options: Options) -> np.ndarray:
        """int64 [length, 3]: (0, y, x), row by row."""
        return grid_coordinates(*cells(shape, cls.stride(options)))

    def states(self, pixels_BCYX: Tensor) -> Tensor:
        """Features [B, cells, H] of normalised pictures of one shape [B, 3, height, width]."""
        raise NotImplementedError

    def embed(self, features: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        """States [sum of cells, H] of all pictures in order.

        Args:
            features: ``pixels`` uint8 [sum of height * width * 3] and ``statistics`` int64 [pictures].
            shapes: (height, width) of each picture.
        """
        pixels, statistics = features["pixels"], features["statistics"]
        if len(set(shapes)) == 1:
            return self._embed_equal(pixels, statistics, tuple(shapes[0])).flatten(0, 1)
        pieces = pixels.split([height * width * 3 for height, width in shapes])
        embedded: dict[int, Tensor] = {}
        for shape in dict.fromkeys(shapes):
            members = [number for number, other in enumerate(shapes) if other == shape]
            group = torch.cat([pieces[number] for number in members])
            states = self._embed_equal(group, statistics[members], tuple(shape))
            embedded.update(zip(members, states.unbind(0), strict=True))
        return torch.cat([embedded[number] for number in range(len(shapes))])

    def _embed_equal(self, pixels: Tensor, statistics: Tensor, shape: tuple[int, ...]) -> Tensor:
        dtype = self.position.weight.dtype
        scale, offset = self.scales[statistics], self.offsets[statistics]
        pictures = pixels.view(-1, *shape, 3).float() * scale[:, None, None] + offset[:, None, None]
        states = self.states(pictures.to(dtype).permute(0, 3, 1, 2))
        rows, columns = cells(shape, self.stride(self.options))
        return states + self.position(place(rows, columns, pixels.device).to(dtype))


def place(rows: int, columns: int, device: torch.device) -> Tensor:
    """[cells, 4 * bands]: sine and cosine of each cell's relative place in the picture, in octaves."""
    frequencies = torch.pi * 2.0 ** torch.arange(_BANDS, device=device)
    y = (torch.arange(rows, device=device) + 0.5)[:, None] / rows * frequencies
    x = (torch.arange(columns, device=device) + 0.5)[:, None] / columns * frequencies
    vertical = torch.cat([y.sin(), y.cos()], dim=1)[:, None].expand(-1, columns, -1)
    horizontal = torch.cat([x.sin(), x.cos()], dim=1)[None].expand(rows, -1, -1)
    return torch.cat([vertical, horizontal], dim=2).flatten(0, 1)


class ImageConv(PictureAdapter):
    """``image_conv``: 3 x 3 convolutions of stride 2 with GELU until one position covers ``stride`` pixels.

    Option ``channels`` is the width of the first; every further one is twice as wide.
    """

    def __init__(self, context: BuildContext) -> None:
        super().__init__(context)
        stride, width = self.stride(context.options), int(context.options["channels"])
        if stride < 2 or stride & (stride - 1):
            raise ValueError(f"image_conv: option stride={stride} must be a power of two, such as 4, 8 or 16")
        widths = [3, *(width * 2**number for number in range(stride.bit_length() - 1))]
        pairs = zip(widths[:-1], widths[1:], strict=True)
        self.stem = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.norm = nn.LayerNorm(widths[-1])
        self.project = nn.Linear(widths[-1], context.hidden)

    def states(self, pixels_BCYX: Tensor) -> Tensor:
        """[B, cells, H]."""
        for convolution in self.stem:
            pixels_BCYX = functional.gelu(convolution(pixels_BCYX))
        return self.project(self.norm(pixels_BCYX.flatten(2).transpose(1, 2)))


class ImagePatchEmbed(PictureAdapter):
    """``image_patch_embed``: one linear layer on patches of ``patch`` x ``patch`` pixels (Dosovitskiy et al. 2021)."""

    stride_option = "patch"

    def __init__(self, context: BuildContext) -> None:
        super().__init__(context)
        patch = self.stride(context.options)
        self.project = nn.Conv2d(3, context.hidden, patch, stride=patch)
        self.norm = nn.LayerNorm(context.hidden)

    def states(self, pixels_BCYX: Tensor) -> Tensor:
        """[B, cells, H]; a picture that is no multiple of the patch is continued with its mean colour."""
        patch, (height, width) = self.stride(self.options), pixels_BCYX.shape[2:]
        padded = functional.pad(pixels_BCYX, (0, -width % patch, 0, -height % patch))
        return self.norm(self.project(padded).flatten(2).transpose(1, 2))
