"""What a text encoder of `transformers` says about itself, from its folder or from what a checkpoint kept of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofacore.plugin import JsonError, PluginError, read_object, suggest

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from ofacore.protocols import Options

ASK = (
    "give options.preprocessor/text_tower.path: a folder with config.json, weights and tokenizer.json, "
    "as `save_pretrained` writes it"
)
_SHIFTED = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer")
"""Kinds whose places begin behind the number of their padding."""


class TowerError(PluginError):
    """A tower that is not there, is no text encoder, or does not fit its weights."""


def folder_of(options: Options) -> Path:
    """The folder that the option ``path`` names.

    Raises:
        TowerError: It is none, or holds no model.
    """
    path = str(options.get("path") or "")
    if not path:
        raise TowerError(f"text_tower: no tower was named; {ASK}")
    folder = Path(path).expanduser()
    if not (folder / "config.json").is_file():
        raise TowerError(f"text_tower: '{path}' holds no config.json; {ASK}")
    return folder


def tower_config(options: Options) -> PretrainedConfig:
    """The configuration of a tower.

    Raises:
        TowerError: There is no folder, no configuration in it, or one of another kind of model.
    """
    if options.get("config"):
        return _known(json.dumps(dict(options["config"]), sort_keys=True), "the option config")
    folder = folder_of(options)
    try:
        content = read_object(folder / "config.json")
    except JsonError as error:
        raise TowerError(f"text_tower: {error}") from error
    return _known(json.dumps(content, sort_keys=True), f"'{folder}'")


def stored_config(options: Options) -> dict[str, Any]:
    """The configuration as JSON values."""
    found: dict[str, Any] = json.loads(tower_config(options).to_json_string(use_diff=False))
    return {name: value for name, value in found.items() if not name.startswith("_")}


def most_tokens(config: PretrainedConfig) -> int | None:
    """Tokens that a tower tells apart by their places; None: any number."""
    most = getattr(config, "max_position_embeddings", None)
    if not isinstance(most, int) or hasattr(config, "relative_attention_num_buckets"):
        return None
    shifted = str(config.model_type) in _SHIFTED
    return most - int(config.pad_token_id or 0) - 1 if shifted else most


@lru_cache(maxsize=8)
def _known(text: str, place: str) -> PretrainedConfig:
    try:
        from transformers import CONFIG_MAPPING
    except ImportError as error:
        raise TowerError("text_tower needs `pip install ofa-modality-text[hf]`") from error
    content: Mapping[str, Any] = json.loads(text)
    kind = content.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        hint = suggest(str(kind or ""), list(CONFIG_MAPPING)) or ASK
        raise TowerError(f"text_tower: {place} names the model_type {kind!r}; {hint}")
    try:
        config = CONFIG_MAPPING[kind].from_dict(dict(content))
    except Exception as error:  # transformers raises anything for values of another kind
        reason = " ".join(str(error).split())[:200]
        raise TowerError(
            f"text_tower: {place} holds values that a {kind} cannot have ({reason})"
        ) from error
    if not isinstance(getattr(config, "vocab_size", None), int):
        raise TowerError(
            f"text_tower: a {kind} reads no text; take one such as BERT, RoBERTa, MiniLM or T5"
        )
    return config  # type: ignore[no-any-return]
