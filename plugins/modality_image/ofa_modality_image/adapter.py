"""What adapters of pictures share, and the default one: strided convolutions.

Letters in names: B pictures of one shape, C channels, Y and X cells, H width of the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ofa_modality_image.grid import behind_class_token, cells, chosen, grid_coordinates
from ofa_modality_image.normalisation import DEVIATIONS, LARGEST, MEANS
from ofacore.parts import numbers_on, to_device
from ofacore.protocols import PositionGrid

if TYPE_CHECKING:
    from torch import Tensor

    from ofacore.protocols import BuildContext, Options

BANDS = 6
DEFAULT_GRID = 42
"""Cells on a side of the tables of learned positions: pictures up to 672 pixels at 16 pixels a cell."""


class PictureAdapter(nn.Module):
    """Unpacks pictures, groups those of equal shape, adds what tells a cell where it is.

    A subclass sets ``stride_option`` or `stride`, and gives `states`. With the option ``bare`` nothing is added: the
    position scheme of the model says where a cell is.
    """

    stride_option = "stride"

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        self.options = dict(context.options)
        self.bare = bool(self.options.get("bare", False))
        if not self.bare:
            self.position = nn.Linear(4 * BANDS, context.hidden)
        side = int(self.options.get("grid", DEFAULT_GRID))
        self.grid = PositionGrid(side, side, bool(self.options.get("class_token")))
        largest, deviations = torch.tensor(LARGEST).unsqueeze(1), torch.tensor(DEVIATIONS)
        self.register_buffer("scales", 1.0 / (largest * deviations), persistent=False)
        self.register_buffer("offsets", -torch.tensor(MEANS) / deviations, persistent=False)

    @classmethod
    def stride(cls, options: Options) -> int:
        """Pixels from one position to the next."""
        return int(options[cls.stride_option])

    @classmethod
    def cells(cls, shape: tuple[int, ...], options: Options) -> tuple[int, int]:
        """Rows and columns of cells of stride x stride pixels."""
        return cells(shape, cls.stride(options))

    @classmethod
    def length(cls, shape: tuple[int, ...], options: Options) -> int:
        """One position for every cell, or for those that are drawn, and one for the class token."""
        rows, columns = cls.cells(shape, options)
        drawn = chosen(rows * columns, shape)
        return (rows * columns if drawn is None else len(drawn)) + bool(options.get("class_token"))

    @classmethod
    def coordinates(cls, shape: tuple[int, ...], options: Options) -> np.ndarray:
        """int64 [length, 3]: (0, y, x), row by row, the class token first."""
        rows, columns = cls.cells(shape, options)
        found, drawn = grid_coordinates(rows, columns), chosen(rows * columns, shape)
        found = found if drawn is None else found[drawn]
        return behind_class_token(found) if options.get("class_token") else found

    def states(self, pixels_BCYX: Tensor) -> Tensor:
        """Features [B, cells, H] of normalised pictures of one shape [B, 3, height, width]."""
        raise NotImplementedError

    def embed(self, features: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        """States [sum of lengths, H] of all pictures in order.

        Args:
            features: ``pixels`` uint8 or float [sum of height * width * 3], row by row, RGB, and ``statistics`` int64
                [pictures], the place of each picture's normalisation in `ofa_modality_image.normalisation.STATISTICS`.
            shapes: (height, width) of each picture, or (height, width, number of cells to draw, seed).
        """
        pixels, statistics = features["pixels"], features["statistics"]
        if len(set(shapes)) == 1 and len(shapes[0]) == 2:
            return self._embed_equal(pixels, statistics, tuple(shapes[0])).flatten(0, 1)
        sizes = [(height, width) for height, width, *_ in shapes]
        pieces = pixels.split([height * width * 3 for height, width in sizes])
        embedded: dict[int, Tensor] = {}
        for size in dict.fromkeys(sizes):
            members = [number for number, other in enumerate(sizes) if other == size]
            group = torch.cat([pieces[number] for number in members])
            chosen_statistics = statistics[numbers_on(members, statistics.device)]
            states = self._embed_equal(group, chosen_statistics, size)
            embedded.update(zip(members, states.unbind(0), strict=True))
        return torch.cat(
            [self._drawn(embedded[number], shape) for number, shape in enumerate(shapes)]
        )

    def _drawn(self, states: Tensor, shape: tuple[int, ...]) -> Tensor:
        token = int(bool(self.options.get("class_token")))
        drawn = chosen(len(states) - token, shape)
        if drawn is None:
            return states
        return torch.cat(
            [states[:token], states[token:][to_device(torch.from_numpy(drawn), states.device)]]
        )

    def _embed_equal(self, pixels: Tensor, statistics: Tensor, size: tuple[int, ...]) -> Tensor:
        dtype = next(self.parameters()).dtype
        scale, offset = self.scales[statistics], self.offsets[statistics]
        pictures = pixels.view(-1, *size, 3).float() * scale[:, None, None] + offset[:, None, None]
        states = self.states(pictures.to(dtype).permute(0, 3, 1, 2))
        if self.bare:
            return states
        rows, columns = self.cells(size, self.options)
        places = self.position(place(rows, columns, pixels.device).to(dtype))
        before = states.shape[1] - rows * columns
        return states + (functional.pad(places, (0, 0, before, 0)) if before else places)


def place(rows: int, columns: int, device: torch.device) -> Tensor:
    """[cells, 4 * bands]: sine and cosine of each cell's relative place in the picture, in octaves."""
    frequencies = torch.pi * 2.0 ** torch.arange(BANDS, device=device)
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
            raise ValueError(
                f"image_conv: option stride={stride} must be a power of two, such as 4, 8 or 16"
            )
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
