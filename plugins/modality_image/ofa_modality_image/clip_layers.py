"""Pre-norm transformer layers with the parameter names that CLIP's image encoder and OFASys give them."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

_SHARPNESS = 1.702


class QuickGelu(nn.Module):
    """x * sigmoid(1.702 x), CLIP's approximation of GELU."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x * torch.sigmoid(_SHARPNESS * x)


class Block(nn.Module):
    """Attention and feed-forward, each with its norm before and stochastic depth behind."""

    def __init__(self, width: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1 = nn.LayerNorm(width)
        layers = (
            ("c_fc", nn.Linear(width, 4 * width)),
            ("gelu", QuickGelu()),
            ("c_proj", nn.Linear(4 * width, width)),
        )
        self.mlp = nn.Sequential(OrderedDict(layers))
        self.ln_2 = nn.LayerNorm(width)
        self.drop_path = drop_path

    def forward(self, x_BLW: Tensor) -> Tensor:
        """[B, L, W]."""
        normed = self.ln_1(x_BLW)
        x_BLW = x_BLW + self._kept(self.attn(normed, normed, normed, need_weights=False)[0])
        return x_BLW + self._kept(self.mlp(self.ln_2(x_BLW)))

    def _kept(self, branch: Tensor) -> Tensor:
        from torchvision.ops import stochastic_depth

        return (
            stochastic_depth(branch, self.drop_path, "row", self.training)
            if self.drop_path
            else branch
        )


class Transformer(nn.Module):
    """A stack of blocks."""

    def __init__(self, width: int, layers: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*(Block(width, heads, drop_path) for _ in range(layers)))

    def forward(self, x_BLW: Tensor) -> Tensor:
        """[B, L, W]."""
        return self.resblocks(x_BLW)  # type: ignore[no-any-return]


class VisionTransformer(nn.Module):
    """Patches of pixels with learned places through transformer layers; no class token, no norm at the end.

    Args:
        resolution: Side in pixels of the pictures that the table of places is made for; it is interpolated for others.
        patch: Side of a patch in pixels.
        width: Width of its states.
        layers: Depth.
        heads: Attention heads.
        drop_path: Share of residual branches left out in training.
    """

    def __init__(
        self,
        resolution: int,
        patch: int,
        width: int,
        layers: int,
        heads: int,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.side, self.width = resolution // patch, width
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        # row 0 was CLIP's class token; files hold it, nothing reads it
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn(self.side**2 + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, layers, heads, drop_path)

    def forward(self, pixels_BCYX: Tensor) -> Tensor:
        """Pictures whose sides are multiples of the patch -> [B, cells, W]."""
        patches = self.conv1(pixels_BCYX)
        rows, columns = patches.shape[2:]
        places = self._places(rows, columns).to(patches.dtype)
        return self.transformer(self.ln_pre(patches.flatten(2).transpose(1, 2) + places))  # type: ignore[no-any-return]

    def _places(self, rows: int, columns: int) -> Tensor:
        """[rows * columns, W]."""
        table = self.positional_embedding[1:]
        if (rows, columns) == (self.side, self.side):
            return table
        grid = table.float().view(1, self.side, self.side, -1).permute(0, 3, 1, 2)
        return functional.interpolate(grid, (rows, columns), mode="bilinear").flatten(2)[0].T
