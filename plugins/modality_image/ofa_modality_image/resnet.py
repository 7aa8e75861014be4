"""ResNet trunk of torchvision as an adapter."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ofa_modality_image.adapter import PictureAdapter
from ofa_modality_image.foreign import resnet_options
from ofa_modality_image.freezing import rest_frozen, run_tower
from ofa_modality_image.weights import load_tower, read_weights
from ofacore.parts import synchronised

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from ofacore.protocols import BuildContext, Options

_DEPTHS = (50, 101, 152)
_STRIDE = 16
_CHANNELS = 1024
_BRANCH_SCALE = 0.25
_PARTS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3")


class ImageResnet(PictureAdapter):
    """``image_resnet``: ResNet-50, -101 or -152 (He et al. 2016) without its last stage: stride 16.

    Options:
        depth: 50, 101 or 152.
        pretrained: A file of weights with torchvision's parameter names, ``.pth`` or ``.safetensors``.
        freeze_statistics: Batch normalisation keeps its statistics, so that a picture's states do not depend on the
            batch. Its scales and shifts are learned, unless ``frozen``.
        frozen: Nothing of the trunk is learned.
        sync_batch_norm: Statistics of all data-parallel ranks together, where they are not kept.
        recompute: Activations within the stages are not kept for the backward pass but computed again; needs
            statistics that are kept, which would else be updated twice.
        drop_path: Residual branches left out in training, growing to this rate within each stage.
        bare: The adapter of OFASys: no norm and no places of its own.
    """

    def __init__(self, context: BuildContext) -> None:
        super().__init__(context)
        depth = int(context.options["depth"])
        if depth not in _DEPTHS:
            raise ValueError(
                f"image_resnet: option depth={depth} is none of {', '.join(map(str, _DEPTHS))}"
            )
        if self.options.get("recompute") and not self.options["freeze_statistics"]:
            raise ValueError("image_resnet: option recompute=true needs freeze_statistics=true")
        self.frozen = bool(self.options.get("frozen"))
        self.embed_images = _trunk(depth, self.options)
        self.embed_images.requires_grad_(not self.frozen)
        self.image_proj = nn.Linear(_CHANNELS, context.hidden)
        self.norm = nn.Identity() if self.bare else nn.LayerNorm(context.hidden)
        self._drop_paths(float(self.options.get("drop_path", 0.0)))
        self.train(self.training)

    @classmethod
    def stride(cls, options: Options) -> int:
        """16 pixels."""
        return _STRIDE

    @staticmethod
    def foreign_options(
        shapes: Mapping[str, tuple[int, ...]], settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        """See `ofacore.protocols.ForeignAdapter`."""
        return resnet_options(shapes, settings)

    @staticmethod
    def stored_options(options: Options) -> dict[str, Any]:
        """Options to build it again from a checkpoint: the file of weights is not needed any more."""
        return {**options, "pretrained": ""}

    def train(self, mode: bool = True) -> ImageResnet:
        """Batch normalisation stays in evaluation unless its statistics are to be learned."""
        super().train(mode)
        rest_frozen(self.embed_images, self.frozen)
        if self.options["freeze_statistics"]:
            for module in self.embed_images.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def states(self, pixels_BCYX: Tensor) -> Tensor:
        """[B, cells, H]."""
        pixels_BCYX = pixels_BCYX.contiguous(memory_format=torch.channels_last)
        run = _recomputed if self._recomputes() else run_tower
        maps = run(self.embed_images, pixels_BCYX)
        return self.norm(self.image_proj(maps.flatten(2).transpose(1, 2)))

    @property
    def collective(self) -> bool:
        """Whether it communicates in training: statistics of all ranks are learned together."""
        return _shares_statistics(self.options)

    def _recomputes(self) -> bool:
        return bool(self.options.get("recompute")) and not self.frozen and torch.is_grad_enabled()

    def _drop_paths(self, rate: float) -> None:
        """Stochastic depth (Huang et al. 2016) where a branch ends; rates grow linearly within each stage."""
        for stage in (self.embed_images.layer1, self.embed_images.layer2, self.embed_images.layer3):
            for block, share in zip(
                stage, torch.linspace(0, rate, len(stage)).tolist(), strict=True
            ):
                if share:
                    block.bn3.register_forward_hook(partial(self._drop_branch, rate=share))

    def _drop_branch(
        self, module: nn.Module, inputs: tuple[Tensor, ...], branch: Tensor, rate: float
    ) -> Tensor:
        from torchvision.ops import stochastic_depth

        return stochastic_depth(branch, rate, "row", training=self.training and not self.frozen)


def _recomputed(trunk: nn.Sequential, x: Tensor) -> Tensor:
    """The trunk's maps; the backward pass keeps the input of each block alone."""
    for part in trunk:
        for block in part if isinstance(part, nn.Sequential) else ():
            x = checkpoint(block, x, use_reentrant=False)
        x = x if isinstance(part, nn.Sequential) else part(x)
    return x


def _shares_statistics(options: Options) -> bool:
    kept = options.get("frozen") or options["freeze_statistics"]
    return bool(options.get("sync_batch_norm")) and not kept


def _trunk(depth: int, options: Options) -> nn.Sequential:
    import torchvision

    network = getattr(torchvision.models, f"resnet{depth}")(weights=None)
    trunk = nn.Sequential(OrderedDict((name, getattr(network, name)) for name in _PARTS))
    pretrained = str(options.get("pretrained", ""))
    if pretrained:
        state = read_weights(pretrained, "image_resnet")
        load_tower(trunk, state, pretrained, "image_resnet", surplus=("layer4.", "fc."))
    else:
        _calm_branches(trunk)
    trunk = synchronised(trunk) if _shares_statistics(options) else trunk
    return trunk.to(memory_format=torch.channels_last)


def _calm_branches(trunk: nn.Module) -> None:
    """Without statistics nothing holds the sum of 13 and more branches in range; small branches do."""
    for name, parameter in trunk.named_parameters():
        if name.endswith("bn3.weight"):
            nn.init.constant_(parameter, _BRANCH_SCALE)
