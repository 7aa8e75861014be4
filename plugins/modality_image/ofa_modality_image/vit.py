"""A vision transformer as an adapter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn import functional

from ofa_modality_image.adapter import PictureAdapter
from ofa_modality_image.clip_layers import VisionTransformer
from ofa_modality_image.foreign import vit_options
from ofa_modality_image.freezing import rest_frozen, run_tower
from ofa_modality_image.grid import patch_cells
from ofa_modality_image.weights import WeightsError, load_tower, read_weights
from ofacore.plugin import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from ofacore.protocols import BuildContext, Options


@dataclass(frozen=True)
class Variant:
    """Sizes of a tower."""

    resolution: int
    """Side in pixels of the pictures that its table of places is made for."""
    patch: int
    width: int
    layers: int
    heads: int


VARIANTS: Mapping[str, Variant] = {
    "base": Variant(224, 16, 768, 9, 12),
    "large": Variant(224, 14, 1024, 18, 16),
    "large-336": Variant(336, 14, 1024, 18, 16),
    "huge": Variant(224, 14, 1280, 24, 16),
}
"""CLIP's image encoders without their last layers, as in OFASys."""


class ImageVit(PictureAdapter):
    """``image_vit``: patches through ``layers`` pre-norm transformer layers of ``width`` before they meet the model.

    Options:
        variant: One of `VARIANTS`; empty: the sizes of ``resolution``, ``patch``, ``width``, ``layers`` and ``heads``.
        pretrained: A file of weights with the names of CLIP's image encoder, ``.pth`` or ``.safetensors``.
        frozen: Nothing of the tower is learned.
        drop_path: Share of residual branches left out in training.
        bare: The adapter of OFASys: no norm and no places of its own, and pixels that fill no patch are cut off.
    """

    def __init__(self, context: BuildContext) -> None:
        super().__init__(context)
        sizes = variant_of(self.options)
        if sizes.width % sizes.heads:
            raise ValueError(
                f"image_vit: option width={sizes.width} is no multiple of heads={sizes.heads}"
            )
        self.frozen = bool(self.options.get("frozen"))
        self.embed_images = VisionTransformer(
            sizes.resolution,
            sizes.patch,
            sizes.width,
            sizes.layers,
            sizes.heads,
            float(self.options.get("drop_path", 0.0)),
        )
        self._load(str(self.options.get("pretrained", "")))
        self.embed_images.requires_grad_(not self.frozen)
        self.norm = nn.Identity() if self.bare else nn.LayerNorm(sizes.width)
        self.image_proj = nn.Linear(sizes.width, context.hidden)

    @staticmethod
    def foreign_options(
        shapes: Mapping[str, tuple[int, ...]], settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        """See `ofacore.protocols.ForeignAdapter`."""
        return vit_options(shapes, settings)

    @classmethod
    def cells(cls, shape: tuple[int, ...], options: Options) -> tuple[int, int]:
        """Rows and columns of patches."""
        return patch_cells(shape, variant_of(options).patch, cut=bool(options.get("bare")))

    @staticmethod
    def stored_options(options: Options) -> dict[str, Any]:
        """Options to build it again from a checkpoint: the file of weights is not needed any more."""
        return {**options, "pretrained": ""}

    def train(self, mode: bool = True) -> ImageVit:
        """A frozen tower stays in evaluation."""
        super().train(mode)
        rest_frozen(self.embed_images, self.frozen)
        return self

    def states(self, pixels_BCYX: Tensor) -> Tensor:
        """[B, cells, H]."""
        patch, (height, width) = variant_of(self.options).patch, pixels_BCYX.shape[2:]
        if not self.bare:
            pixels_BCYX = functional.pad(pixels_BCYX, (0, -width % patch, 0, -height % patch))
        return self.image_proj(self.norm(run_tower(self.embed_images, pixels_BCYX)))  # type: ignore[no-any-return]

    def _load(self, path: str) -> None:
        if not path:
            return
        state = read_weights(path, "image_vit")
        if any(name.startswith("visual.") for name in state):
            state = {
                name.removeprefix("visual."): v
                for name, v in state.items()
                if name.startswith("visual.")
            }
        deeper = ("transformer.resblocks.", "ln_post.", "proj", "class_embedding")
        load_tower(self.embed_images, state, path, "image_vit", surplus=deeper)


def variant_of(options: Options) -> Variant:
    """Sizes that the options ask for.

    Raises:
        WeightsError: No variant of that name.
    """
    name = str(options.get("variant", ""))
    if name:
        if name not in VARIANTS:
            hint = suggest(name, VARIANTS) or f"there are {', '.join(VARIANTS)}"
            raise WeightsError(f"image_vit: no variant '{name}'; {hint}")
        return VARIANTS[name]
    keys = ("patch", "width", "layers", "heads")
    patch, width, layers, heads = (int(options[key]) for key in keys)
    return Variant(int(options.get("resolution", 0)) or 14 * patch, patch, width, layers, heads)
