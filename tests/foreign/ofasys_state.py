"""States of OFASys models with the options of its default, of any sizes, with random numbers."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

HIDDEN, FFN, HEADS, LAYERS, POSITIONS, BUCKETS = 32, 48, 4, 2, 24, 8
SETTINGS: dict[str, Any] = {
    "_name": None,
    "activation_fn": "gelu",
    "dropout": 0.1,
    "attention_dropout": 0.0,
    "attn_scale_factor": 2,
    "use_self_attn_bias": True,
    "entangle_position_embedding": False,
    "share_attn_bias": False,
    "modal_ffn": False,
    "encoder": {
        "_name": None,
        "attention_heads": HEADS,
        "layers": LAYERS,
        "normalize_before": True,
    },
    "adaptor": {},
}
_NORMS = ("layernorm_embedding", "layernorm_position")


def token_buckets(size: int, positions: int) -> Tensor:
    """int64 [positions, positions]: exact near the diagonal, logarithmic further away."""
    distance = torch.arange(positions)[:, None] - torch.arange(positions)
    middle = size // 2
    far = distance.abs().clamp(min=middle)
    steps = (
        torch.ceil((far / middle).log() / math.log((positions - 1) / middle) * (middle - 1)).long()
        + middle
    )
    return torch.where(distance.abs() <= middle, distance, steps * distance.sign()) + size - 1


def grid_buckets(side: int) -> Tensor:
    """int64 [side**2 + 1, side**2 + 1]: row and column distance of cells; row 0 is for what is no cell."""
    y, x = (
        part.flatten()
        for part in torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    )
    found = torch.zeros(side**2 + 1, side**2 + 1, dtype=torch.int64)
    found[1:, 1:] = (y[:, None] - y + side - 1) * (2 * side - 1) + x[:, None] - x + side - 1
    number = (2 * side - 1) ** 2 + 3
    found[0, :], found[:, 0], found[0, 0] = number - 3, number - 2, number - 1
    return found


def random_state(rows: int, seed: int = 1) -> dict[str, Tensor]:
    """A model of tokens alone."""
    torch.manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {}
    for side in ("encoder", "decoder"):
        for name in ("pos_q_linear", "pos_k_linear"):
            shapes |= _linear(f"{side}.adaptor.{name}", HIDDEN, HIDDEN)
        shapes |= adapter_shapes(f"{side}.adaptor.text", "token", POSITIONS + 2, 2 * BUCKETS - 1)
        shapes |= _norm(f"{side}.layer_norm", HIDDEN)
        for index in range(LAYERS):
            shapes |= _layer(f"{side}.layers.{index}", side)
    for name in ("q", "k"):
        shapes |= _linear(f"decoder.cross_pos_{name}_linear", HIDDEN, HIDDEN)
    state = filled(shapes)
    table = torch.randn(rows, HIDDEN)
    for side in ("encoder", "decoder"):
        state[f"{side}.version"] = torch.tensor([3.0])
        state[f"{side}.adaptor.embed_tokens.weight"] = table
        state[f"{side}.adaptor.text.token_rp_bucket"] = token_buckets(BUCKETS, POSITIONS)
    return state


def with_trunk(
    state: dict[str, Tensor], name: str, trunk: nn.Module, channels: int, side: int = 8
) -> dict[str, Tensor]:
    """The state of a model that also sees: a trunk with ``channels`` maps, tables with ``side`` cells on a side."""
    prefix = f"encoder.adaptor.{name}"
    own = filled(
        {
            **adapter_shapes(prefix, "image", side**2 + 1, (2 * side - 1) ** 2 + 3),
            **_linear(f"{prefix}.image_proj", HIDDEN, channels),
        }
    )
    maps = {
        f"{prefix}.embed_images.{key}": value.clone() for key, value in trunk.state_dict().items()
    }
    return {**state, **own, **maps, f"{prefix}.image_rp_bucket": grid_buckets(side)}


def with_experts(state: dict[str, Tensor], number: int = 9) -> dict[str, Tensor]:
    """The state of a model with ``modal_ffn``."""
    found = dict(state)
    for name, value in state.items():
        if ".fc1." in name or ".fc2." in name:
            for expert in range(number):
                theirs = name.replace(".fc1.", f".experts_fc1.{expert}.").replace(
                    ".fc2.", f".experts_fc2.{expert}."
                )
                found[theirs] = value + 0.1 * torch.randn(value.shape)
    return found


def adapter_shapes(
    prefix: str, kind: str, positions: int, distances: int
) -> dict[str, tuple[int, ...]]:
    table = "embed_positions" if kind == "token" else f"embed_{kind}_positions"
    found = {
        f"{prefix}.{table}.weight": (positions, HIDDEN),
        f"{prefix}.type_embedding.weight": (1, HIDDEN),
    }
    for norm in _NORMS:
        found |= _norm(f"{prefix}.{norm}", HIDDEN)
    return found | {
        f"{prefix}.{kind}_rel_pos_table_list.{n}.weight": (distances, HEADS) for n in range(LAYERS)
    }


def _layer(name: str, side: str) -> dict[str, tuple[int, ...]]:
    attentions = {"self_attn": "attn_ln" if side == "encoder" else "self_attn_ln"}
    attentions |= {} if side == "encoder" else {"encoder_attn": "cross_attn_ln"}
    found: dict[str, tuple[int, ...]] = {}
    for attention, scale in attentions.items():
        for part in ("q", "k", "v", "out"):
            found |= _linear(f"{name}.{attention}.{part}_proj", HIDDEN, HIDDEN)
        found |= {
            f"{name}.{attention}.c_attn": (HEADS,),
            **_norm(f"{name}.{attention}_layer_norm", HIDDEN),
        }
        found |= _norm(f"{name}.{scale}", HIDDEN)
    found |= {**_norm(f"{name}.final_layer_norm", HIDDEN), **_norm(f"{name}.ffn_layernorm", FFN)}
    return found | {**_linear(f"{name}.fc1", FFN, HIDDEN), **_linear(f"{name}.fc2", HIDDEN, FFN)}


def _linear(name: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def filled(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Random numbers; vectors called ``weight`` are near one."""
    found = {}
    for name, shape in shapes.items():
        middle = 1.0 if len(shape) == 1 and not name.endswith(".bias") else 0.0
        found[name] = middle + torch.randn(shape) * (0.2 if len(shape) == 1 else shape[-1] ** -0.5)
    return found


def trunk(seed: int = 5) -> nn.Sequential:
    """torchvision's ResNet-50 up to its third stage, with statistics as after training."""
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(seed)
    network = torchvision.models.resnet50(weights=None)
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 0.25 if name.endswith("bn3") else 1.0)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            module.num_batches_tracked.fill_(77)
    parts = OrderedDict(list(network.named_children())[:7])
    return nn.Sequential(parts).eval()
