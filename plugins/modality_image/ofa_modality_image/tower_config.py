"""What an image tower of `transformers` says about itself, from its folder or from what a checkpoint kept of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_modality_image.grid import patch_cells
from ofacore.plugin import PluginError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from ofacore.protocols import Options

_ASK = "give options.adapter/image_tower.path: a folder with config.json and weights, as `save_pretrained` writes it"


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


def check_layer(layer: int, config: PretrainedConfig) -> None:
    """Refuse a layer that the tower does not have.

    Raises:
        TowerError: There are fewer layers.
    """
    layers = int(config.num_hidden_layers)
    if not -layers - 1 <= layer <= layers:
        raise TowerError(
            f"image_tower: layer={layer}, but a tower of {layers} layers has {-layers - 1} to {layers}"
        )


def statistics_of(options: Options) -> dict[str, list[float]]:
    """``mean`` and ``std`` of RGB in 0 to 1 that the tower was trained with; empty where its folder does not tell.

    Raises:
        TowerError: They are not three numbers each, or a deviation is not positive.
    """
    if options.get("statistics") or options.get("config"):
        given = dict(options.get("statistics") or {})
        return (
            _checked(given.get("mean"), given.get("std"), "the option statistics") if given else {}
        )
    file, content = _processor(Path(str(options["path"])))
    if content.get("do_normalize") is False:
        return {"mean": [0.0] * 3, "std": [1.0] * 3}
    if "image_mean" not in content or "image_std" not in content:
        return {}
    return _checked(
        content["image_mean"], content["image_std"], f"image_mean, image_std of '{file}'"
    )


def _processor(folder: Path) -> tuple[Path, dict[str, Any]]:
    """How a folder wants pictures, and the file that tells; that of a processor of several modalities goes before."""
    whole, file = folder / "processor_config.json", folder / "preprocessor_config.json"
    own = _json(whole).get("image_processor") if whole.is_file() else None
    if isinstance(own, dict):
        return whole, own
    return file, _json(file) if file.is_file() else {}


def _checked(mean: Any, std: Any, source: str) -> dict[str, list[float]]:
    for values in (mean, std):
        if (
            not isinstance(values, list | tuple)
            or len(values) != 3
            or not all(map(_is_number, values))
        ):
            raise TowerError(
                f"image_tower: {source}: {str(values)[:60]} are no three numbers, for R, G and B"
            )
    if min(std) <= 0:
        raise TowerError(
            f"image_tower: {source}: a deviation of {min(std)} is not positive; mend it"
        )
    return {"mean": [float(value) for value in mean], "std": [float(value) for value in std]}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _json(file: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        TowerError: It holds none.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error)[:100]
        raise TowerError(
            f"image_tower: '{file}' is no JSON ({reason}); copy the folder again"
        ) from error
    if not isinstance(content, dict):
        raise TowerError(f"image_tower: '{file}' holds no JSON object; copy the folder again")
    return content


def _from_folder(path: str) -> PretrainedConfig:
    if not path:
        raise TowerError(f"image_tower: no tower was named; {_ASK}")
    file = Path(path) / "config.json"
    if not file.is_file():
        raise TowerError(f"image_tower: no file '{file}'; {_ASK}")
    state = file.stat()
    return _from_file(str(file), state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(maxsize=8)
def _from_file(file: str, *state: int) -> PretrainedConfig:
    """The configuration in a file; ``state`` tells that it was written anew."""
    return _known(_json(Path(file)), file)


@lru_cache(maxsize=8)
def _from_text(text: str) -> PretrainedConfig:
    return _known(json.loads(text), "config")


def _known(content: dict[str, Any], source: str) -> PretrainedConfig:
    """The configuration of a kind that transformers itself has: code that comes with a folder is never run."""
    known = _transformers().CONFIG_MAPPING
    kind = content.get("model_type")
    if not isinstance(kind, str) or kind not in known:
        shown = f"model_type '{str(kind)[:60]}'" if kind else "no model_type"
        own = "; code that comes with a folder is never run" if "auto_map" in content else ""
        problem = f"'{source}' holds no configuration that transformers knows: {shown}{own}"
        raise TowerError(f"image_tower: {problem}; take a CLIP, SigLIP, DINOv2 or ViT")
    own_settings = {
        name: value for name, value in content.items() if name not in ("auto_map", "model_type")
    }
    try:
        config = known[kind].from_dict(own_settings)
    except Exception as error:  # transformers raises anything for values of another kind
        reason = " ".join(str(error).split())[:200]
        raise TowerError(
            f"image_tower: '{source}' holds values that a {kind} cannot have ({reason})"
        ) from error
    return _vision(config, source)


def _vision(config: Any, source: str) -> PretrainedConfig:
    found = getattr(config, "vision_config", None) or config
    kind = getattr(found, "model_type", type(found).__name__)
    if isinstance(found, Mapping) or not _is_size(getattr(found, "patch_size", None)):
        kind = getattr(config, "model_type", type(config).__name__)
        raise TowerError(f"image_tower: '{source}' is a {kind}, no image tower with square patches")
    if hasattr(found, "depths") or hasattr(found, "hidden_sizes"):
        problem = f"'{source}' is a {kind}, which merges patches from layer to layer"
        raise TowerError(
            f"image_tower: {problem}; take a tower with one state for each patch, such as DINOv2"
        )
    if not all(
        _is_size(getattr(found, name, None)) for name in ("hidden_size", "num_hidden_layers")
    ):
        raise TowerError(
            f"image_tower: '{source}' is a {kind} without hidden_size and num_hidden_layers"
        )
    if not hasattr(found, "image_size"):
        problem = f"'{source}' is a {kind}, which takes patches of any grid in place of pictures"
        raise TowerError(
            f"image_tower: {problem}; take one of a fixed size, such as SigLIP 2 of 224 pixels"
        )
    return found  # type: ignore[no-any-return]


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _transformers() -> Any:
    try:
        import transformers
    except ImportError:
        raise TowerError(
            "image_tower needs transformers: pip install ofa-modality-image[towers]"
        ) from None
    return transformers
