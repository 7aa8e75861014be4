"""OFA as its authors published it, before OFASys: their names and settings in OFASys' terms (Wang et al. 2022).

Both spellings are known: fairseq's (``attn_ln``, ``encoder_attn``, ``ffn_layernorm``) and that of the models for
`transformers` (``self_attn_mid_layer_norm``, ``cross_attn``, ``ffn_layer_norm``). The two rows of their table of types
belong to text and to pictures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

TYPES = "encoder.type_embedding.weight"
_TYPE_OWNERS = (
    "encoder.adaptor.text.type_embedding.weight",
    "encoder.adaptor.image_resnet.type_embedding.weight",
)
_CODES = "image_vqgan"
_MODULES = (
    ("encoder.embed_tokens", "encoder.adaptor.embed_tokens"),
    ("encoder.layernorm_embedding", "encoder.adaptor.text.layernorm_embedding"),
    ("encoder.pos_ln", "encoder.adaptor.text.layernorm_position"),
    ("encoder.embed_positions", "encoder.adaptor.text.embed_positions"),
    ("encoder.token_rel_pos_table_list", "encoder.adaptor.text.token_rel_pos_table_list"),
    ("encoder.token_rp_bucket", "encoder.adaptor.text.token_rp_bucket"),
    ("encoder.embed_images", "encoder.adaptor.image_resnet.embed_images"),
    ("encoder.image_proj", "encoder.adaptor.image_resnet.image_proj"),
    ("encoder.patch_layernorm_embedding", "encoder.adaptor.image_resnet.layernorm_embedding"),
    ("encoder.image_pos_ln", "encoder.adaptor.image_resnet.layernorm_position"),
    ("encoder.embed_image_positions", "encoder.adaptor.image_resnet.embed_image_positions"),
    ("encoder.image_rel_pos_table_list", "encoder.adaptor.image_resnet.image_rel_pos_table_list"),
    ("encoder.image_rp_bucket", "encoder.adaptor.image_resnet.image_rp_bucket"),
    ("encoder.pos_q_linear", "encoder.adaptor.pos_q_linear"),
    ("encoder.pos_k_linear", "encoder.adaptor.pos_k_linear"),
    ("decoder.embed_tokens", "decoder.adaptor.embed_tokens"),
    ("decoder.layernorm_embedding", "decoder.adaptor.text.layernorm_embedding"),
    ("decoder.pos_ln", "decoder.adaptor.text.layernorm_position"),
    ("decoder.embed_positions", "decoder.adaptor.text.embed_positions"),
    ("decoder.token_rel_pos_table_list", "decoder.adaptor.text.token_rel_pos_table_list"),
    ("decoder.token_rp_bucket", "decoder.adaptor.text.token_rp_bucket"),
    ("decoder.code_layernorm_embedding", f"decoder.adaptor.{_CODES}.layernorm_embedding"),
    ("decoder.image_pos_ln", f"decoder.adaptor.{_CODES}.layernorm_position"),
    ("decoder.embed_image_positions", f"decoder.adaptor.{_CODES}.embed_image_positions"),
    ("decoder.image_rel_pos_table_list", f"decoder.adaptor.{_CODES}.image_rel_pos_table_list"),
    ("decoder.image_rp_bucket", f"decoder.adaptor.{_CODES}.image_rp_bucket"),
    ("decoder.image_position_idx", f"decoder.adaptor.{_CODES}.image_position_idx"),
    ("decoder.self_pos_q_linear", "decoder.adaptor.pos_q_linear"),
    ("decoder.self_pos_k_linear", "decoder.adaptor.pos_k_linear"),
)
_SPELLINGS = (
    (r"^(encoder\.layers\.\d+)\.self_attn_mid_layer_norm\.", r"\1.attn_ln."),
    (r"^(decoder\.layers\.\d+)\.self_attn_mid_layer_norm\.", r"\1.self_attn_ln."),
    (r"^(decoder\.layers\.\d+)\.cross_attn_mid_layer_norm\.", r"\1.cross_attn_ln."),
    (r"^(decoder\.layers\.\d+)\.cross_attn_layer_norm\.", r"\1.encoder_attn_layer_norm."),
    (r"^(decoder\.layers\.\d+)\.cross_attn\.", r"\1.encoder_attn."),
    (r"^((?:en|de)coder\.layers\.\d+)\.ffn_layer_norm\.", r"\1.ffn_layernorm."),
)
_TRUNK = ("resnet_type", "image_bucket_size", "freeze_resnet", "sync_bn", "resnet_drop_path_rate")
EXPERTS = ("TEXT", "IMAGE", "BOX", "AUDIO", "PHONE", "VIDEO", "STRUCT", "MOTION", "CATEGORY")
"""Slot types in the order of OFASys' experts by modality."""
_SETTINGS = {
    "activation_function": "activation_fn",
    "encoder_drop_path_rate": "encode_drop_path_rate",
    "decoder_drop_path_rate": "decode_drop_path_rate",
}


def renamed(name: str) -> str:
    """OFASys' name of one of OFA's tensors."""
    name = name.removeprefix("model.")
    for theirs, ours in _MODULES:
        if name == theirs or name.startswith(f"{theirs}."):
            return ours + name.removeprefix(theirs)
    for pattern, replacement in _SPELLINGS:
        name = re.sub(pattern, replacement, name)
    return name


def as_ofasys(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """A state under OFASys' names, and the name that each had; the table of types is left out, its rows are there."""
    origin = {renamed(name): name for name in tensors if name != TYPES}
    found = {ours: tensors[theirs] for ours, theirs in origin.items()}
    if TYPES in tensors:
        rows = tensors[TYPES]
        present = [
            name
            for name in _TYPE_OWNERS
            if name.partition(".type")[0].split(".")[2] in _adapters(found)
        ]
        found |= {
            name: rows[row : row + 1] for row, name in enumerate(_TYPE_OWNERS) if name in present
        }
    return found, origin


def as_ofa(
    state: Mapping[str, Tensor], origin: Mapping[str, str], kept: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The way back; ``kept`` has the table of types, whose rows may have changed."""
    found = {origin[name]: value for name, value in state.items() if name in origin}
    if TYPES in kept:
        rows = kept[TYPES].clone()
        for row, name in enumerate(_TYPE_OWNERS):
            if name in state:
                rows[row] = state[name].flatten().to(rows.dtype)
        found[TYPES] = rows
    return found


def _adapters(state: Mapping[str, Any]) -> set[str]:
    return {name.split(".")[2] for name in state if name.startswith("encoder.adaptor.")}


def as_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of OFA with OFASys' keys."""
    found = {_SETTINGS.get(key, key): value for key, value in config.items()}
    found["use_self_attn_bias"] = True
    found["adaptor"] = {"image_resnet": {key: config[key] for key in _TRUNK if key in config}}
    return found
