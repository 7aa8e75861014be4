"""The vision transformer against CLIP's image encoder of `transformers` with the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ofa_modality_image.manifest import COMPONENTS
from ofa_modality_image.vit import ImageVit
from ofacore.protocols import BuildContext, Vocabulary

transformers = pytest.importorskip("transformers")

SIZES = {
    "narrow": {"patch": 8, "width": 32, "layers": 3, "heads": 4, "resolution": 40},
    "wide heads": {"patch": 14, "width": 64, "layers": 2, "heads": 2, "resolution": 28},
}
_PARTS = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def clip(patch: int, width: int, layers: int, heads: int, resolution: int) -> nn.Module:
    torch.manual_seed(2)
    config = transformers.CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        image_size=resolution,
        patch_size=patch,
        hidden_act="quick_gelu",
    )
    model = transformers.CLIPVisionModel(config).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, 1.0 if parameter.dim() == 1 else 0.0, 0.2)
    return model


def renamed(theirs: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """CLIP's weights under the names that its authors gave them."""
    found = {"conv1.weight": theirs["embeddings.patch_embedding.weight"]}
    found["positional_embedding"] = theirs["embeddings.position_embedding.weight"]
    for leaf in ("weight", "bias"):
        found[f"ln_pre.{leaf}"] = theirs[f"pre_layrnorm.{leaf}"]
        for n in range(layers):
            layer, own = f"encoder.layers.{n}", f"transformer.resblocks.{n}"
            parts = [theirs[f"{layer}.self_attn.{part}_proj.{leaf}"] for part in "qkv"]
            found[f"{own}.attn.in_proj_{leaf}"] = torch.cat(parts)
            found |= {
                f"{own}.{new}.{leaf}": theirs[f"{layer}.{old}.{leaf}"]
                for old, new in _PARTS.items()
            }
    return found


@pytest.mark.parametrize("name", SIZES)
@torch.no_grad()
def test_states_are_those_of_clip(name: str) -> None:
    """CLIP has a class token besides, which is hidden from the patches here."""
    sizes = SIZES[name]
    theirs = clip(**sizes)
    vision = getattr(theirs, "vision_model", theirs)
    component = next(part for part in COMPONENTS if part.name == "image_vit")
    adapter = ImageVit(
        BuildContext(12, {**component.options, **sizes, "bare": True}, Vocabulary(), None)
    ).eval()
    adapter.embed_images.load_state_dict(renamed(vision.state_dict(), sizes["layers"]))
    pixels = torch.randn(3, 3, sizes["resolution"], sizes["resolution"])
    states = vision.pre_layrnorm(vision.embeddings(pixels))
    hidden = torch.zeros(1, 1, states.shape[1], states.shape[1])
    hidden[..., 0] = torch.finfo(torch.float32).min
    for layer in vision.encoder.layers:
        output = layer(states, attention_mask=hidden)
        states = output if isinstance(output, Tensor) else output[0]
    torch.testing.assert_close(adapter.embed_images(pixels), states[:, 1:], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_states_are_those_of_torchvisions_transformer() -> None:
    """With its norm in front and CLIP's activation put in."""
    from torchvision.models.vision_transformer import EncoderBlock

    from ofa_modality_image.clip_layers import Block, QuickGelu

    torch.manual_seed(4)
    ours = Block(48, 6, 0.0).eval()
    theirs = EncoderBlock(6, 48, 192, 0.0, 0.0, norm_layer=nn.LayerNorm).eval()
    theirs.mlp[1] = QuickGelu()
    names = {
        "ln_1": "ln_1",
        "attn": "self_attention",
        "ln_2": "ln_2",
        "mlp.c_fc": "mlp.0",
        "mlp.c_proj": "mlp.3",
    }
    for own, other in names.items():
        theirs.get_submodule(other).load_state_dict(ours.get_submodule(own).state_dict())
    x = torch.randn(2, 9, 48)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)
