"""What a speech encoder of `transformers` says about itself, from its folder or from what a checkpoint kept of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofacore.plugin import PluginError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from ofacore.protocols import Options

RATE = 16_000
WHISPER_STEP, WHISPER_WINDOW = 320, 480_000
"""Samples of a position of Whisper, and of the half minute that it reads at once."""
_ASK = "give options.adapter/audio_tower.path: a folder with config.json and weights, as `save_pretrained` writes it"


class TowerError(PluginError):
    """A tower that is not there, is no speech encoder, or does not fit its weights."""


def tower_config(options: Options) -> PretrainedConfig:
    """The configuration of a tower.

    Raises:
        TowerError: There is no folder, no configuration in it, or one of another kind of model.
    """
    if options.get("config"):
        return _from_text(json.dumps(options["config"], sort_keys=True))
    return _from_folder(str(options.get("path") or ""))


def stored_config(options: Options) -> dict[str, Any]:
    """The configuration as JSON values."""
    found: dict[str, Any] = json.loads(tower_config(options).to_json_string(use_diff=False))
    return {name: value for name, value in found.items() if not name.startswith("_")}


def normalises(options: Options) -> bool:
    """Whether samples get mean 0 and deviation 1: what the tower's folder says, else the option."""
    path = str(options.get("path") or "")
    content = _extractor(Path(path)) if path else {}
    return bool(content.get("do_normalize", options.get("normalize", True)))


def _extractor(folder: Path) -> dict[str, Any]:
    """How a folder wants sounds; what a processor of several modalities wrote goes before."""
    whole, file = folder / "processor_config.json", folder / "preprocessor_config.json"
    own = _json(whole).get("feature_extractor") if whole.is_file() else None
    if isinstance(own, dict):
        return own
    return _json(file) if file.is_file() else {}


def is_whisper(config: PretrainedConfig) -> bool:
    """Whether it reads log-mel frames of half a minute."""
    return str(config.model_type) == "whisper"


def padded_seconds(samples: int, options: Options) -> int:
    """How long a window of Whisper is with the silence that fills it up."""
    step = int(options.get("pad_seconds", WHISPER_WINDOW // RATE))
    wanted = max(1, math.ceil(samples / (RATE * step))) * step
    return min(wanted, WHISPER_WINDOW // RATE)


def fewest_samples(config: PretrainedConfig) -> int:
    """Samples that become one position."""
    needed = 1
    for kernel, stride in reversed(_layers(config)):
        needed = (needed - 1) * stride + kernel
    return needed


def tower_positions(samples: int, config: PretrainedConfig) -> int:
    """Positions that so many samples become."""
    if is_whisper(config):
        return math.ceil(samples / WHISPER_STEP)
    left = max(samples, fewest_samples(config))
    for kernel, stride in _layers(config):
        left = (left - kernel) // stride + 1
    return left


def _layers(config: PretrainedConfig) -> list[tuple[int, int]]:
    """(kernel, stride) of each convolution."""
    return list(zip(config.conv_kernel, config.conv_stride, strict=True))


def _from_folder(path: str) -> PretrainedConfig:
    file = Path(path) / "config.json"
    if not path or not file.is_file():
        raise TowerError(f"audio_tower: '{path}' holds no config.json; {_ASK}")
    state = file.stat()
    return _from_file(file, state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(maxsize=4)
def _from_file(file: Path, *state: int) -> PretrainedConfig:
    """The configuration in a file; ``state`` tells that it was written anew."""
    return _known(_json(file), f"'{file.parent}'")


@lru_cache(maxsize=4)
def _from_text(text: str) -> PretrainedConfig:
    return _known(json.loads(text), "the option config")


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TowerError(f"audio_tower: '{file}' cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise TowerError(f"audio_tower: '{file}' holds no object of JSON")
    return found


def _known(content: Mapping[str, Any], place: str) -> PretrainedConfig:
    try:
        from transformers import CONFIG_MAPPING
    except ImportError as error:
        raise TowerError("audio_tower needs `pip install transformers`") from error
    kind = content.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise TowerError(f"audio_tower: {place} names the model_type {kind!r}; {_ASK}")
    try:
        config = CONFIG_MAPPING[kind].from_dict(dict(content))
    except Exception as error:  # transformers raises anything for values of another kind
        reason = " ".join(str(error).split())[:200]
        raise TowerError(
            f"audio_tower: {place} holds values that a {kind} cannot have ({reason})"
        ) from error
    if not is_whisper(config) and not hasattr(config, "conv_stride"):
        raise TowerError(
            f"audio_tower: a {kind} reads no samples; take one such as wav2vec 2, HuBERT, WavLM or Whisper"
        )
    if getattr(config, "add_adapter", False):
        raise TowerError(
            f"audio_tower: {place} has convolutions behind its layers (add_adapter), which leave fewer positions; take "
            "one without"
        )
    for name in ("layerdrop", "encoder_layerdrop", "decoder_layerdrop"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    config.apply_spec_augment = (
        False  # it draws from numpy's global state: the slot's own is seeded
    )
    return config
