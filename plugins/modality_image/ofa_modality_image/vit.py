"""A small vision transformer as an adapter, from torch's own encoder layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from ofa_modality_image.adapter import ImagePatchEmbed, place

if TYPE_CHECKING:
    from torch import Tensor

    from ofacore.protocols import BuildContext, Options


class ImageVit(ImagePatchEmbed):
    """``image_vit``: patches through ``layers`` pre-norm transformer layers of ``width`` before they meet the model.

    Positions are sines of the relative place, so one set of weights serves every size.
    """

    def __init__(self, context: BuildContext) -> None:
        super().__init__(context)
        options: Options = context.options
        patch, width = self.stride(options), int(options["width"])
        if width % int(options["heads"]):
            raise ValueError(f"image_vit: option width={width} is no multiple of heads={options['heads']}")
        self.project = nn.Conv2d(3, width, patch, stride=patch)
        self.norm = nn.LayerNorm(width)
        self.inner_position = nn.Linear(self.position.in_features, width)
        layer = nn.TransformerEncoderLayer(
            width, int(options["heads"]), 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, int(options["layers"]), enable_nested_tensor=False)
        self.output = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, context.hidden))

    def states(self, pixels_BCYX: Tensor) -> Tensor:
        """[B, cells, H]."""
        patch = self.stride(self.options)
        rows, columns = (-(-side // patch) for side in pixels_BCYX.shape[2:])
        position = self.inner_position(place(rows, columns, pixels_BCYX.device).to(pixels_BCYX.dtype))
        return self.output(self.layers(super().states(pixels_BCYX) + position))
