"""What a slot asks of a clip: its attributes, else the options of its preprocessor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ofa_modality_video.sampling import Sampling
from ofacore.protocols import Options, RowContext, RowError, SlotPlan

FRAMINGS = ("image", "imagenet", "imagepretrain")
"""Preprocessors of IMAGE that may cut and change frames."""
_ROOM: Mapping[str, float] = {"image": 1.25, "imagenet": 4.0, "imagepretrain": 1.75}
"""Framing -> how much larger than the view a frame is to be, so that its smallest crop is no enlargement."""
_OF_IMAGE = ("mean_std", "interpolation", "augment")


@dataclass(frozen=True)
class Settings:
    """How the clips of a slot are read."""

    sampling: Sampling
    size: int
    """Pixels of a side of the view."""
    framing: str
    """One of `FRAMINGS`."""
    rate: float | None
    """Frames a second of clips that do not tell."""
    pool: int | None
    """Most steps in time."""
    image: Options
    """Attributes that frames have as values of IMAGE."""

    @classmethod
    def of(cls, slot: SlotPlan, options: Options, ctx: RowContext, value: Any = None) -> Settings:
        """Of a slot whose preprocessor has these options.

        Raises:
            RowError: Start or end is no number, nor a column that holds one.
        """
        given = {**options, **{name: v for name, v in slot.attributes.items() if v is not None}}
        size = int(given["size"])
        sampling = Sampling(
            int(given["frames"]),
            given.get("fps"),
            _second("start", slot, ctx, value),
            _second("end", slot, ctx, value),
        )
        image = {name: given[name] for name in _OF_IMAGE if given.get(name) is not None}
        return cls(
            sampling,
            size,
            str(given.get("framing") or FRAMINGS[0]),
            given.get("rate"),
            given.get("pool"),
            {**image, "size": size},
        )

    @property
    def least(self) -> int:
        """Pixels of the shorter side of a frame that no detail of the view is lost for."""
        return round(self.size * _ROOM[self.framing])


def _second(name: str, slot: SlotPlan, ctx: RowContext, value: Any) -> float | None:
    """Of the value itself, else a number that the slot says, else what the column has that it names."""
    own = value.get(name) if isinstance(value, Mapping) else None
    said = slot.attributes.get(name) if own is None else own
    if said is None:
        return None
    number = _as_number(said)
    if number is None and isinstance(said, str):
        number = _as_number(ctx.row.get(said))
    if number is None:
        raise RowError(
            f"column '{slot.name}': {name}={said!r:.40} is neither a number of seconds nor a column that "
            "holds one"
        )
    return number


def _as_number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    finite = abs(number) < float("inf")
    return number if finite and not isinstance(value, bool) else None
