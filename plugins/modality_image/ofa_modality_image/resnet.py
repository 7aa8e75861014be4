"""ResNet trunk of torchvision as an adapter."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from ofa_modality_image.adapter import PictureAdapter

if TYPE_CHECKING:
    from torch import Tensor

    from ofacore.protocols import BuildContext, Options

_DEPTHS = (50, 101, 152)
_STRIDE = 16
_BRANCH_SCALE = 0.25
_PARTS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3")


class ImageResnet(PictureAdapter):
    """``image_resnet``: ResNet-50, -101 or -152 (He et al. 2016) without its last stage: stride 16.

    Batch normalisation keeps its statistics unless ``freeze_statistics`` is false, so a picture's states do not
    depend on the batch. ``pretrained`` is a ``.safetensors`` file with torchvision's parameter names.
    """

    def __init__(self, context: BuildContext) -> None:
        super().__init__(context)
        depth = int(context.options["depth"])
        if depth not in _DEPTHS:
            raise ValueError(f"image_resnet: option depth={depth} is none of {', '.join(map(str, _DEPTHS))}")
        self.trunk = _trunk(depth, str(context.options["pretrained"])).to(memory_format=torch.channels_last)
        self.project = nn.Linear(1024, context.hidden)
        self.norm = nn.LayerNorm(context.hidden)
        self.train(self.training)

    @classmethod
    def stride(cls, options: Options) -> int:
        """16 pixels."""
        return _STRIDE

    def train(self, mode: bool = True) -> ImageResnet:
        """Batch normalisation stays in evaluation unless its statistics are to be learned."""
        super().train(mode)
        if self.options["freeze_statistics"]:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def states(self, pixels_BCYX: Tensor) -> Tensor:
        """[B, cells, H]."""
        maps = self.trunk(pixels_BCYX.contiguous(memory_format=torch.channels_last))
        return self.norm(self.project(maps.flatten(2).transpose(1, 2)))


def _trunk(depth: int, pretrained: str) -> nn.Sequential:
    import torchvision

    network = getattr(torchvision.models, f"resnet{depth}")(weights=None)
    if pretrained:
        _load(network, Path(pretrained))
    else:
        _calm_branches(network)
    return nn.Sequential(OrderedDict((name, getattr(network, name)) for name in _PARTS))


def _calm_branches(network: nn.Module) -> None:
    """Without statistics nothing holds the sum of 13 and more branches in range; small branches do."""
    for name, parameter in network.named_parameters():
        if name.endswith("bn3.weight"):
            nn.init.constant_(parameter, _BRANCH_SCALE)


def _load(network: nn.Module, path: Path) -> None:
    from safetensors.torch import load_file

    if path.suffix != ".safetensors" or not path.is_file():
        raise ValueError(f"image_resnet: option pretrained='{path}' is no .safetensors file")
    wanted = {name for name in network.state_dict() if not name.startswith(("fc.", "layer4."))}
    state = {name: tensor for name, tensor in load_file(path).items() if name in wanted}
    missing = sorted(name for name in wanted - set(state) if not name.endswith("num_batches_tracked"))
    if missing:
        raise ValueError(f"image_resnet: '{path}' lacks {len(missing)} tensors, the first is '{missing[0]}'")
    network.load_state_dict(state, strict=False)
