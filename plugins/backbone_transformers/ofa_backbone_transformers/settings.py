"""What a configuration becomes on a folder of transformers: sizes, and how rows are written for its model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_backbone_transformers.folder import (
    BackboneError,
    architecture,
    folder_of,
    prompt_tokens,
    special_tokens,
    stored_weights,
    tokenizer_of,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PretrainedConfig

    from ofacore.protocols import Options

_ASKED = "[TEXT:text] -> [TEXT:answer]"
_HEARING = {
    "slots": {"AUDIO": "preprocess=audio_wave,adapter=whisper"},
    "instruction": "[AUDIO:wav] what did the person say? -> [TEXT:text]",
}
"""What an import makes of a model that hears: how slots are read, and what it is asked where nothing is said."""
_BIASES = ("final_logits_bias", "lm_head.bias")
_BOUNDARIES: Mapping[tuple[bool, bool], bool | str] = {
    (True, True): True,
    (True, False): "bos",
    (False, True): "eos",
    (False, False): False,
}


def settings(options: Options) -> dict[str, Any]:
    """What the configuration shall be unless it says otherwise; see `ofacore.plugin.Component.settings`.

    A model of a checkpoint has no folder any more; its configuration says all of it already.

    Raises:
        BackboneError: The folder holds no model that can be a backbone, or no tokenizer.
    """
    if options.get("config") and not options.get("path"):
        return {}
    folder, config, special = folder_of(options), architecture(options), special_tokens(options)
    if "eos" not in special:
        raise BackboneError(f"'{folder}': its configuration names no eos_token_id")
    prompt = prompt_tokens(options)
    special |= {"start": prompt[-1]} if prompt else {}
    starts = _starts(special, bool(prompt))
    hears = config.model_type == "whisper"
    tokenizer = tokenizer_of(folder)
    around: bool | str = False
    if not hears:
        around = _boundaries(tokenizer, folder, special)
        _check_start(folder, special, around, starts)
    model = {
        **_sizes(config),
        "tied_head": bool(config.tie_word_embeddings),
        "output_bias": _has_bias(folder),
        "source_boundaries": around,
        "target_start": starts,
        "layernorm_embedding": False,
        "type_embedding": False,
        "dropout": 0.0,
    }
    table = {"preprocessor/text": {"tokenizer": str(folder)}}
    if hears:
        model["max_positions"] = config.max_source_positions + config.max_target_positions
        table["adapter/whisper"] = {"path": str(folder)}
    found: dict[str, Any] = {"model": model, "options": table, "instruction": _ASKED}
    return {**found, **_HEARING} if hears else found


def _sizes(config: PretrainedConfig) -> dict[str, int]:
    hidden, layers = config.hidden_size, config.num_hidden_layers
    heads = int(getattr(config, "num_attention_heads", 1))
    encoder = getattr(config, "encoder_layers", layers) if config.is_encoder_decoder else 0
    decoder = _first(config, "decoder_layers", "num_decoder_layers") or layers
    found = {
        "hidden": hidden,
        "ffn": _first(config, "encoder_ffn_dim", "d_ff", "intermediate_size", "n_inner")
        or 4 * hidden,
        "heads": heads if hidden % heads == 0 else 1,
        "encoder_layers": encoder,
        "decoder_layers": decoder,
    }
    most = _first(config, "max_position_embeddings", "max_target_positions")
    if most and not hasattr(config, "relative_attention_num_buckets"):
        found["max_positions"] = most
    return found


def _first(config: PretrainedConfig, *names: str) -> int | None:
    """The first of some sizes that a configuration has."""
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, int):
            return value
    return None


def _starts(special: Mapping[str, int], encodes: bool) -> str:
    """What a target begins with; `<bos>` has the row of the token that the decoder reads first."""
    if not encodes or special.get("start", special["eos"]) != special["eos"]:
        return "bos"
    forced = special.get("forced")
    return "eos bos" if forced is not None and forced == special.get("bos") else "eos"


def _boundaries(tokenizer: Tokenizer, folder: Path, special: Mapping[str, int]) -> bool | str:
    """What the tokenizer of a folder puts around a text.

    Raises:
        BackboneError: It puts other tokens there than `<bos>` and `<eos>`.
    """
    whole, bare = (tokenizer.encode("a", add_special_tokens=wanted).ids for wanted in (True, False))
    begin = len(whole) - len(bare)
    for before in range(begin + 1):
        if whole[before : before + len(bare)] == bare:
            around = (whole[:before], whole[before + len(bare) :])
            break
    else:
        around = (whole, [])
    first = [special["bos"]] if "bos" in special else []
    last = [special["eos"]]
    if around[0] not in ([], first) or around[1] not in ([], last):
        raise BackboneError(
            f"the tokenizer of '{folder}' puts the tokens {around[0]} and {around[1]} around a text; "
            "only <bos> in front and <eos> behind can be written by a model of this kind"
        )
    return _BOUNDARIES[bool(around[0]), bool(around[1])]


def _check_start(folder: Path, special: Mapping[str, int], around: bool | str, starts: str) -> None:
    """`<bos>` has one row, of what a target begins with, where that is no `<eos>`.

    Raises:
        BackboneError: A source begins with another token.
    """
    first, start = special.get("bos"), special.get("start", special.get("bos"))
    if around in (True, "bos") and starts == "bos" and first != start:
        raise BackboneError(
            f"the tokenizer of '{folder}' puts the token {first} in front of a text, and an answer begins behind the "
            f"token {start}; a model here has one <bos> for both: leave out the option prompt, or take another model"
        )


def _has_bias(folder: Path) -> bool:
    """Whether a number other than 0 is added to the logit of some token."""
    found = stored_weights(folder, lambda name: name.endswith(_BIASES))
    return any(bool(values.any()) for _, values in found)
