"""What an image tower of `transformers` says about itself, from its folder or from what a checkpoint kept of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_modality_image.grid import patch_cells
from ofacore.plugin import PluginError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from ofacore.protocols import Options

_ASK = "give model.adapters.image_tower.path: a folder with config.json and weights, as `save_pretrained` writes it"


class TowerError(PluginError):
    """A tower that is not there, is no image tower, or does not fit its weights."""


def tower_config(options: Options) -> PretrainedConfig:
    """The vision configuration of a tower.

    Raises:
        TowerError: There is no folder, no configuration in it, or one without pictures.
    """
    if options.get("config"):
        return _from_text(json.dumps(options["config"], sort_keys=True))
    return _from_folder(str(options.get("path") or ""))


def tower_cells(shape: tuple[int, ...], options: Options) -> tuple[int, int]:
    """Rows and columns of patches; what fills no patch is cut off."""
    return patch_cells(shape, int(tower_config(options).patch_size), cut=True)


def stored_config(options: Options) -> dict[str, Any]:
    """The configuration as JSON values."""
    found: dict[str, Any] = json.loads(tower_config(options).to_json_string(use_diff=False))
    return {name: value for name, value in found.items() if not name.startswith("_")}


def statistics_of(options: Options) -> dict[str, list[float]]:
    """``mean`` and ``std`` of RGB in 0 to 1 that the tower was trained with; empty where its folder does not tell."""
    if options.get("statistics") or options.get("config"):
        return dict(options.get("statistics") or {})
    file = Path(str(options["path"])) / "preprocessor_config.json"
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if "image_mean" not in content or "image_std" not in content:
        return {}
    return {"mean": list(content["image_mean"]), "std": list(content["image_std"])}


@lru_cache(maxsize=8)
def _from_folder(path: str) -> PretrainedConfig:
    if not path:
        raise TowerError(f"image_tower: no tower was named; {_ASK}")
    if not (Path(path) / "config.json").is_file():
        raise TowerError(f"image_tower: no file '{Path(path) / 'config.json'}'; {_ASK}")
    auto = _transformers().AutoConfig
    try:
        found = auto.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise TowerError(f"image_tower: '{path}' holds no configuration that transformers knows ({error})") from error
    return _vision(found, path)


@lru_cache(maxsize=8)
def _from_text(text: str) -> PretrainedConfig:
    content = json.loads(text)
    return _vision(_transformers().AutoConfig.for_model(**content), "config")


def _vision(config: Any, source: str) -> PretrainedConfig:
    found = getattr(config, "vision_config", None) or config
    if isinstance(found, Mapping) or not isinstance(getattr(found, "patch_size", None), int):
        kind = getattr(config, "model_type", type(config).__name__)
        raise TowerError(f"image_tower: '{source}' is a {kind}, no image tower with square patches")
    return found  # type: ignore[no-any-return]


def _transformers() -> Any:
    try:
        import transformers
    except ImportError:
        raise TowerError("image_tower needs transformers: pip install ofa-modality-image[towers]") from None
    return transformers
