"""BART as Hugging Face stores it: its configuration and its names, in our terms (Lewis et al. 2019)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ofa_foreign.formats.mapping import Entry, Heads, Rolled, Same
from ofacore.checkpoint.checkpoint_errors import CheckpointError
from ofacore.ground.printable import shortened

OFFSET = 2
"""BART's table of positions begins with rows that no position uses."""
TABLE = "model.shared.weight"
HEAD = "lm_head.weight"
SIDE_TABLES = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
TABLE_COPIES = (HEAD, *SIDE_TABLES)
BIAS = "final_logits_bias"
_ACTIVATIONS = {"gelu": "gelu", "relu": "relu", "silu": "silu", "swish": "silu"}


def model_options(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Keys of our model's configuration for a BART.

    Raises:
        CheckpointError: It has something that our model has not; says what was found and what was expected.
    """
    for what in ("attention_heads", "ffn_dim"):
        sides = [config.get(f"{side}_{what}") for side in ("encoder", "decoder")]
        if sides[0] != sides[1]:
            sizes = f"encoder_{what} {sides[0]} and decoder_{what} {sides[1]}"
            raise CheckpointError(
                path, f"{sizes}: encoder and decoder must have equal widths and heads here"
            )
    activation = config.get("activation_function", "gelu")
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        known = ", ".join(_ACTIVATIONS)
        found = f"activation_function '{shortened(activation)}' is not supported"
        raise CheckpointError(path, f"{found}; expected one of {known}")
    return {
        "preset": "base",
        "hidden": config["d_model"],
        "ffn": config["encoder_ffn_dim"],
        "heads": config["encoder_attention_heads"],
        "encoder_layers": config["encoder_layers"],
        "decoder_layers": config["decoder_layers"],
        "positions": "untied",
        "positions_options": {"attention_bias": False, "entangled": True, "layernorm": False},
        "max_positions": config["max_position_embeddings"],
        "norm": "post",
        "activation": _ACTIVATIONS[activation],
        "qk_norm": False,
        "type_embedding": False,
        "scale_embedding": bool(config.get("scale_embedding", False)),
        "output_bias": True,
        "tied_head": is_tied(config),
        "separator": False,
        "dropout": config.get("dropout", 0.1),
        "attention_dropout": config.get("attention_dropout", 0.0),
        "activation_dropout": config.get("activation_dropout", 0.0),
    }


def is_tied(config: Mapping[str, Any]) -> bool:
    """Whether the head shares the token table, as it does unless the configuration says otherwise."""
    return config.get("tie_word_embeddings") is not False


def check_sizes(
    config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], path: Path
) -> None:
    """No size of the configuration is larger than that of the tensors.

    Raises:
        CheckpointError: One is; names it, and the tensor.
    """
    for side in ("encoder", "decoder"):
        layer = re.compile(rf"model\.{side}\.layers\.(\d{{1,9}})\.")
        numbers = {match[1] for match in map(layer.match, shapes) if match}
        if config[f"{side}_layers"] > len(numbers):
            what = f"config.json says {side}_layers {config[f'{side}_layers']}, its tensors are of {len(numbers)}"
            raise CheckpointError(path, f"{what}; expected them to agree")
        sizes = {
            f"model.{side}.layers.0.fc1.weight": (f"{side}_ffn_dim", 0),
            f"model.{side}.embed_positions.weight": ("max_position_embeddings", OFFSET),
        }
        for name, (key, unused) in sizes.items():
            shape = shapes.get(name)
            if shape and config[key] > shape[0] - unused:
                what = f"config.json says {key} {config[key]}, but '{name}' has shape {list(shape)}"
                raise CheckpointError(path, f"{what}; expected them to agree")


def entries(config: Mapping[str, Any]) -> list[Entry]:
    """How our tensors are made of a BART's, the token table left out."""
    found: list[Entry] = []
    for side, stack, norm in (
        ("encoder", "encoder", "source_norm"),
        ("decoder", "decoder", "target_norm"),
    ):
        places = f"backbone.positions.{side}.token.tables.0.weight"
        found.append(Rolled(places, f"model.{side}.embed_positions.weight", OFFSET))
        found += _pairs(norm, f"model.{side}.layernorm_embedding")
        for index in range(config[f"{side}_layers"]):
            found += _layer(
                f"backbone.{stack}.{index}",
                f"model.{side}.layers.{index}",
                config["encoder_attention_heads"],
                side,
            )
    return found


def _layer(ours: str, theirs: str, heads: int, side: str) -> Iterator[Entry]:
    yield from _attention(f"{ours}.attention", f"{theirs}.self_attn", "qkv", ("q", "k", "v"), heads)
    yield from _pairs(f"{ours}.attention_norm", f"{theirs}.self_attn_layer_norm")
    if side == "decoder":
        yield from _pairs(f"{ours}.cross.query", f"{theirs}.encoder_attn.q_proj")
        yield from _attention(
            f"{ours}.cross", f"{theirs}.encoder_attn", "key_value", ("k", "v"), heads
        )
        yield from _pairs(f"{ours}.cross_norm", f"{theirs}.encoder_attn_layer_norm")
    yield from _pairs(f"{ours}.ffn.up", f"{theirs}.fc1")
    yield from _pairs(f"{ours}.ffn.down", f"{theirs}.fc2")
    yield from _pairs(f"{ours}.ffn_norm", f"{theirs}.final_layer_norm")


def _attention(
    ours: str, theirs: str, name: str, parts: tuple[str, ...], heads: int
) -> Iterator[Entry]:
    for leaf in ("weight", "bias"):
        yield Heads(
            f"{ours}.{name}.{leaf}", tuple(f"{theirs}.{part}_proj.{leaf}" for part in parts), heads
        )
    yield from _pairs(f"{ours}.out", f"{theirs}.out_proj")


def _pairs(ours: str, theirs: str) -> Iterator[Entry]:
    for leaf in ("weight", "bias"):
        yield Same(f"{ours}.{leaf}", f"{theirs}.{leaf}")
