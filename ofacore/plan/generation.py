"""Options of generation from several layers, checked as a whole."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from ofacore.config.errors import ConfigError, Problem
from ofacore.config.schema import GenerationConfig
from ofacore.config.validation import explained
from ofacore.protocols import GenerationOptions, Options, SlotPlan


def length_problem(slot: SlotPlan, options: GenerationOptions) -> str:
    """Why no open value of tokens can be as long as its slot and the options say; empty if one can."""
    if slot.generator != "token" or slot.attributes.get("closed_set") or slot.attributes.get("length"):
        return ""
    fewest = max(options.min_length, int(slot.attributes.get("min_length") or 0))
    most = min(options.max_length, int(slot.attributes.get("max_length") or options.max_length))
    if fewest <= most:
        return ""
    return (
        f"slot '{slot.name}': min_length={fewest} is more than max_length={most}, as the slot and the options of "
        "generation have them; lower the one or raise the other"
    )


def generation_options(*layers: Options) -> GenerationOptions:
    """Options from several layers, later ones first in line; unset (None) values do not count.

    Raises:
        ConfigError: An unknown option, a bad value, or options that contradict each other.
    """
    merged: dict[str, Any] = {key: value for layer in layers for key, value in layer.items() if value is not None}
    try:
        checked = GenerationConfig.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(explained(error, merged, ("generation",))) from None
    options = GenerationOptions(**checked.model_dump(exclude_none=True))
    if options.min_length > options.max_length:
        message = f"min_length={options.min_length} is more than max_length={options.max_length}"
        raise ConfigError([Problem("generation", message)])
    if options.strategy == "diverse_beam" and options.beam % options.groups:
        message = f"beam={options.beam} is no multiple of groups={options.groups}"
        raise ConfigError([Problem("generation", message)])
    return options
