"""The configuration of an OFASys model in our terms: what its tensors' shapes tell, and what only its settings do."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from ofa_foreign.formats import pooling_decoders
from ofa_foreign.formats.mapping import Shape
from ofa_foreign.formats.ofasys_names import HEAD, TABLE, Reading
from ofacore.checkpoint.checkpoint_errors import CheckpointError
from ofacore.contract.foreign import ForeignAdapter
from ofacore.ground.printable import shortened

_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_fast": "gelu",
    "gelu_accurate": "gelu",
    "relu": "relu",
    "silu": "silu",
}


def reading(
    config: Mapping[str, Any],
    shapes: Mapping[str, Shape],
    path: Path,
    target_adapters: Collection[str] = (),
    experts: Mapping[str, Mapping[str, int]] | None = None,
) -> Reading:
    """How a state of these shapes is to be read; what the settings do not say, its names do.

    Args:
        config: Their model configuration, as nested mappings.
        shapes: Name -> shape of every tensor of the state.
        path: For messages.
        target_adapters: Our names of adapters that serve the target alone.
        experts: Side -> our expert -> number of theirs, where feed-forward experts are to be taken over.

    Raises:
        CheckpointError: It is the state of another kind of model, or of one that ours does not contain.
    """
    for name in (TABLE, "encoder.layers.0.fc1.weight", "decoder.layers.0.fc1.weight"):
        if name not in shapes:
            raise CheckpointError(
                path, f"has no tensor '{name}'; expected the state of an OFASys model"
            )
    entangled = _flag(
        config, "entangle_position_embedding", "encoder.adaptor.pos_q_linear.weight" not in shapes
    )
    biased = _flag(config, "use_self_attn_bias", "decoder.cross_pos_q_linear.weight" in shapes)
    found = Reading(
        shapes,
        _heads(config, shapes, path),
        biased,
        entangled,
        target_adapters,
        experts or {},
        pooling_decoders.chosen(config, shapes),
    )
    _check(config, found, path)
    return found


def model_options(config: Mapping[str, Any], state: Reading, path: Path) -> dict[str, Any]:
    """Keys of our model's configuration.

    Raises:
        CheckpointError: A setting that our model does not have.
    """
    shapes = state.shapes
    hidden, activation = shapes[TABLE][1], str(_setting(config, "activation_fn", "gelu"))
    if activation not in _ACTIVATIONS:
        known = ", ".join(_ACTIVATIONS)
        raise CheckpointError(
            path, f"activation_fn '{shortened(activation)}'; expected one of {known}"
        )
    length, buckets = _line(shapes)
    return {
        "preset": "base",
        "hidden": hidden,
        "ffn": shapes["encoder.layers.0.fc1.weight"][0],
        "heads": state.heads,
        "encoder_layers": state.layers("encoder"),
        "decoder_layers": state.layers("decoder"),
        "positions": "untied",
        "positions_options": {
            "attention_bias": state.attention_bias,
            "buckets": buckets,
            "share_bias": _flag(config, "share_attn_bias", _shares(state)),
            "entangled": state.entangled,
            "layernorm": _any(shapes, "layernorm_position.weight"),
        },
        "max_positions": length,
        "norm": "pre" if "encoder.layer_norm.weight" in shapes else "post",
        "activation": _ACTIVATIONS[activation],
        "qk_norm": False,
        "attn_scale_factor": _number(config, "attn_scale_factor", 2.0),
        "scale_attn": "encoder.layers.0.attn_ln.weight" in shapes,
        "scale_fc": "encoder.layers.0.ffn_layernorm.weight" in shapes,
        "scale_heads": "encoder.layers.0.self_attn.c_attn" in shapes,
        "scale_resids": "encoder.layers.0.w_resid" in shapes,
        "layernorm_embedding": _any(shapes, "layernorm_embedding.weight"),
        "norm_per_adapter": True,
        "type_embedding": _any(shapes, "type_embedding.weight"),
        "target_type_embedding": False,
        "separator": False,
        "dropout": _number(config, "dropout", 0.1),
        "attention_dropout": _number(config, "attention_dropout", 0.0),
        "activation_dropout": _number(config, "activation_dropout", 0.0),
        "encoder_drop_path": _number(config, "encode_drop_path_rate", 0.0),
        "decoder_drop_path": _number(config, "decode_drop_path_rate", 0.0),
    }


def adapter_shapes(state: Reading, name: str) -> dict[str, Shape]:
    """Own name -> shape of the tensors of one of our adapters on the encoder's side, or else the decoder's."""
    for side in ("encoder", "decoder"):
        theirs = next((key for key, ours in state.adapters(side).items() if ours == name), None)
        if theirs is not None:
            prefix = f"{side}.adaptor.{theirs}."
            return {rest: state.shapes[prefix + rest] for rest in state.parts[side, theirs]}
    return {}


def adapter_settings(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Their settings of an adapter."""
    found = config.get("adaptor") or {}
    settings = found.get(name) if isinstance(found, Mapping) else None
    return settings if isinstance(settings, Mapping) else {}


def adapter_options(
    config: Mapping[str, Any], state: Reading, load: Callable[[str], object]
) -> dict[str, dict[str, Any]]:
    """Our adapter -> its options, for every adapter of the state that knows the other project.

    Args:
        config: Their model configuration.
        state: How the state is read.
        load: Gives the class of our adapter of that name.
    """
    found = {}
    for theirs, ours in {**state.adapters("decoder"), **state.adapters("encoder")}.items():
        adapter = load(ours)
        if isinstance(adapter, ForeignAdapter):
            settings = adapter_settings(config, theirs)
            found[ours] = dict(adapter.foreign_options(adapter_shapes(state, ours), settings))
    return found


def _setting(config: Mapping[str, Any], name: str, default: Any) -> Any:
    value = config.get(name)
    return default if value is None else value


def _number(config: Mapping[str, Any], name: str, default: float) -> float:
    """A number of the settings; the default where they refer to another one by name, as omegaconf does."""
    value = _setting(config, name, default)
    return float(value) if isinstance(value, int | float) else default


def _flag(config: Mapping[str, Any], name: str, default: bool) -> bool:
    value = config.get(name)
    return value if isinstance(value, bool) else default


def _shares(state: Reading) -> bool:
    """Whether several layers share one table of biases."""
    tables = [
        name
        for name in state.shapes
        if re.match(r"encoder\.adaptor\.text\.[^.]+_rel_pos_table_list\.", name)
    ]
    return len(tables) == 1 < state.layers("encoder")


def _any(shapes: Mapping[str, Shape], ending: str) -> bool:
    return any(name.startswith("encoder.adaptor.") and name.endswith(ending) for name in shapes)


def _heads(config: Mapping[str, Any], shapes: Mapping[str, Shape], path: Path) -> int:
    for name, shape in shapes.items():
        if name.endswith(".self_attn.c_attn"):
            return shape[0]
        if re.search(r"_rel_pos_table_list\.0\.weight$", name):
            return shape[1]
    for section in (config.get("encoder"), config):
        for name in ("attention_heads", "encoder_attention_heads"):
            if isinstance(section, Mapping) and section.get(name):
                return int(section[name])
    raise CheckpointError(
        path, "neither its tensors nor its settings tell the number of attention heads"
    )


def _line(shapes: Mapping[str, Shape]) -> tuple[int, int]:
    """Positions and buckets of the adapter of tokens."""
    tables = [shape for name, shape in shapes.items() if name.endswith(".embed_positions.weight")]
    graded = [
        shape
        for name, shape in shapes.items()
        if name.endswith(".token_rel_pos_table_list.0.weight")
    ]
    return (tables[0][0] - 2 if tables else 1024), ((graded[0][0] + 1) // 2 if graded else 256)


def _check(config: Mapping[str, Any], state: Reading, path: Path) -> None:
    """What our model does not contain is refused by name."""
    problems = _sizes(state)
    if config.get("scale_embedding") is True:
        problems.append("scale_embedding is true; expected false")
    for name in {*state.adapters("encoder"), *state.adapters("decoder")}:
        settings = adapter_settings(config, name)
        if bool(settings.get("entangle_position_embedding", state.entangled)) != state.entangled:
            problems.append(
                f"adaptor.{name}.entangle_position_embedding differs from the model's ({state.entangled})"
            )
        if settings.get("no_scale_embedding") is False:
            problems.append(f"adaptor.{name}.no_scale_embedding is false; expected true")
    head = HEAD.removesuffix(".weight") + ".bias"
    if head in state.shapes:
        problems.append(f"'{head}': a head with a learned bias; expected none")
    sides = [f"{side}.layer_norm.weight" in state.shapes for side in ("encoder", "decoder")]
    if sides[0] != sides[1]:
        problems.append("normalize_before differs between encoder and decoder; expected the same")
    if not state.attention_bias and not state.entangled:
        problems.append(
            "use_self_attn_bias is off while positions are not entangled; the original cannot run that"
        )
    if problems:
        raise CheckpointError(path, "; ".join(sorted(problems)))


def _sizes(state: Reading) -> list[str]:
    """Sizes that both sides and all tables must share here, and layers that follow each other."""
    problems, shapes = [], state.shapes
    for side, numbers in state.numbers.items():
        if numbers != set(range(len(numbers))):
            found = f"{len(numbers)} layers in the {side}, the last one numbered {max(numbers)}"
            problems.append(f"{found}; expected them numbered from 0 without gaps")
    tables = {
        name: shape[0]
        for name, shape in shapes.items()
        if name.endswith(".text.embed_positions.weight")
    }
    if len(set(tables.values())) > 1:
        found = ", ".join(f"'{name}' has {rows} rows" for name, rows in sorted(tables.items()))
        problems.append(f"{found}; expected equally many on both sides")
    for name, shape in shapes.items():
        rows = tables.get(name.replace("token_rp_bucket", "embed_positions.weight"))
        if name.endswith(".text.token_rp_bucket") and rows is not None and shape[0] != rows - 2:
            problems.append(
                f"'{name}' is for {shape[0]} positions, their table for {rows - 2}; expected equally many"
            )
    layer = "{}.layers.0.fc1.weight"
    widths = [shapes[layer.format(side)][0] for side in ("encoder", "decoder")]
    if widths[0] != widths[1]:
        problems.append(
            f"fc1 is {widths[0]} wide in the encoder and {widths[1]} in the decoder; expected the same"
        )
    return problems
