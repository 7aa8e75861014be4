"""What peft adds to the layers: low-rank updates and the like. All other weights of the layers are frozen."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ofa_backbone_transformers.folder import BackboneError
from ofacore.plugin import UserError, suggest

_INSIDE = ".base_layer."


def add_peft(layers: nn.Module, given: Mapping[str, Any]) -> None:
    """Change layers in place.

    Args:
        layers: They.
        given: Keys of peft's configuration; ``peft_type`` says which, LORA by default.

    Raises:
        BackboneError: peft is not installed, or takes no such configuration.
        UserError: It finds no layer of these names.
    """
    try:
        from peft import (
            PEFT_TYPE_TO_CONFIG_MAPPING,
            PromptLearningConfig,
            inject_adapter_in_model,
        )
    except ImportError as error:
        raise BackboneError(
            "option peft needs `pip install ofa-backbone-transformers[peft]`"
        ) from error
    options = dict(given)
    kind = str(options.pop("peft_type", "LORA"))
    kinds = {
        str(getattr(known, "value", known)): c for known, c in PEFT_TYPE_TO_CONFIG_MAPPING.items()
    }
    if kind not in kinds:
        hint = suggest(kind, kinds) or f"there are {', '.join(sorted(kinds))}"
        raise BackboneError(f"option peft: no peft_type '{kind}'; {hint}")
    if issubclass(kinds[kind], PromptLearningConfig):
        raise BackboneError(
            f"option peft: {kind} learns what stands before a whole model of peft, and layers alone have no place for "
            "it; learn a slot [PROMPT:p,length=8], or updates of layers (peft_type: LORA, or model.lora)"
        )
    try:
        config = kinds[kind](**options)
    except (TypeError, ValueError) as error:
        raise BackboneError(f"option peft: {error}") from error
    try:
        inject_adapter_in_model(config, layers)
    except ValueError as error:
        names = [name for name, part in layers.named_modules() if isinstance(part, nn.Linear)]
        raise UserError(
            f"option peft: {str(error).partition('.')[0]}; layers are called like '{names[-1] if names else ''}'"
        ) from error


def merged_state(layers: nn.Module) -> dict[str, Tensor]:
    """Weights by name, with what peft added in them; the layers stay as they are."""
    try:
        from peft.tuners.tuners_utils import BaseTunerLayer
    except ImportError:
        return dict(layers.state_dict())
    tuned = [name for name, part in layers.named_modules() if isinstance(part, BaseTunerLayer)]
    if not tuned:
        return dict(layers.state_dict())
    twin = copy.deepcopy(layers)
    for name, part in twin.named_modules():
        if name in tuned:
            part.merge()
    owned = tuple(f"{owner}." for owner in tuned)
    return {
        name.replace(_INSIDE, "."): value
        for name, value in twin.state_dict().items()
        if _INSIDE in name or not name.startswith(owned)
    }
