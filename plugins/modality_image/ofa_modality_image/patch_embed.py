"""Linear patches of pixels as an adapter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from ofa_modality_image.adapter import PictureAdapter
from ofa_modality_image.foreign import patch_options
from ofa_modality_image.grid import patch_cells

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from ofacore.protocols import BuildContext, Options


class ImagePatchEmbed(PictureAdapter):
    """``image_patch_embed``: one linear layer on patches of ``patch`` x ``patch`` pixels (Dosovitskiy et al. 2021).

    With ``class_token`` a learned position stands before the patches, at (0, 0, 0); theirs are (0, 1 + y, 1 + x). With
    ``bare`` this is the adapter of OFASys: parameters ``proj`` and ``cls_token``, no norm and no places of its own.
    """

    stride_option = "patch"

    def __init__(self, context: BuildContext) -> None:
        super().__init__(context)
        patch = self.stride(context.options)
        self.proj = nn.Conv2d(3, context.hidden, patch, stride=patch)
        self.norm = nn.Identity() if self.bare else nn.LayerNorm(context.hidden)
        if context.options.get("class_token"):
            self.cls_token = nn.Parameter(torch.zeros(1, 1, context.hidden))
        if self.bare:
            self.grid = replace(self.grid, relative=False)

    @staticmethod
    def foreign_options(
        shapes: Mapping[str, tuple[int, ...]], settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        """See `ofacore.protocols.ForeignAdapter`."""
        return patch_options(shapes, settings)

    @classmethod
    def cells(cls, shape: tuple[int, ...], options: Options) -> tuple[int, int]:
        """Rows and columns of patches."""
        return patch_cells(shape, cls.stride(options), cut=bool(options.get("bare")))

    def states(self, pixels_BCYX: Tensor) -> Tensor:
        """[B, patches, H]; what fills no patch is filled up with the mean colour, or cut off if ``bare``."""
        patch, (height, width) = self.stride(self.options), pixels_BCYX.shape[2:]
        if not self.bare:
            pixels_BCYX = functional.pad(pixels_BCYX, (0, -width % patch, 0, -height % patch))
        return self.norm(self.proj(pixels_BCYX).flatten(2).transpose(1, 2))

    def _embed_equal(self, pixels: Tensor, statistics: Tensor, size: tuple[int, ...]) -> Tensor:
        states = super()._embed_equal(pixels, statistics, size)
        if not self.options.get("class_token"):
            return states
        return torch.cat([self.cls_token.expand(len(states), -1, -1), states], dim=1)
