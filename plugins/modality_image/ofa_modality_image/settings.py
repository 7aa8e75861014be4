"""How pictures of a slot are read and resized: its attributes, else the options of its preprocessor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from ofacore.plugin import PluginError
from ofacore.protocols import Options, SlotPlan

INTERPOLATIONS: Mapping[str, Image.Resampling] = {
    kind.name.lower(): kind for kind in Image.Resampling
}


@dataclass(frozen=True)
class Settings:
    """What a slot says, where it says something."""

    size: int | None
    """Pixels of a side of the view; None: its own resolution."""
    mean_std: str
    """Name of the normalisation."""
    resample: Image.Resampling
    depth: int | None
    """Bits of a grey value."""
    stored: bool
    """Pictures stay as they are stored."""

    @classmethod
    def of(cls, slot: SlotPlan, options: Options) -> Settings:
        """Of a slot whose preprocessor has these options.

        Raises:
            PluginError: An option names no interpolation or normalisation.
        """
        size = _either(slot, options, "size")
        side = int(size) if size else None
        return cls(
            side,
            str(_either(slot, options, "mean_std") or "half"),
            interpolation(str(_either(slot, options, "interpolation") or "bicubic")),
            slot.attributes.get("depth"),
            slot.attributes.get("orientation") == "stored",
        )


def interpolation(name: str) -> Image.Resampling:
    """Pillow's interpolation of a name.

    Raises:
        PluginError: There is none of this name.
    """
    if name not in INTERPOLATIONS:
        known = ", ".join(INTERPOLATIONS)
        raise PluginError(f"the option interpolation of IMAGE: '{name}' is none of {known}")
    return INTERPOLATIONS[name]


def _either(slot: SlotPlan, options: Options, name: str) -> Any:
    return slot.attributes.get(name) or options.get(name)
