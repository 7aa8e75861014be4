"""The adapter of images that frames go through, by its name in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ofacore.plugin import PluginError, Registry, suggest
from ofacore.protocols import Adapter, Options

_OWN = "video_"


def frame_adapter(options: Options) -> tuple[type[Adapter], Options]:
    """Class and whole options of the adapter that ``frame_adapter`` names, with ``frame_options`` before its own.

    Raises:
        PluginError: There is no such adapter, it takes no frames, or an option is unknown to it.
    """
    name = str(options["frame_adapter"])
    found, declared = _loaded(name)
    given: Mapping[str, Any] = options.get("frame_options") or {}
    for option in given:
        if option not in declared:
            hint = suggest(option, declared) or f"there are {', '.join(declared)}"
            raise PluginError(
                f"video_image_sequence: option frame_options: {name} has no option '{option}'; {hint}"
            )
    return found, {**declared, **given}


@lru_cache(maxsize=32)
def _loaded(name: str) -> tuple[type[Adapter], dict[str, Any]]:
    if name.startswith(_OWN):
        raise PluginError(
            f"video_image_sequence: option frame_adapter: '{name}' takes clips; name an adapter of images"
        )
    registry = Registry.discover()
    return registry.load("adapter", name), dict(registry.component("adapter", name).options)
