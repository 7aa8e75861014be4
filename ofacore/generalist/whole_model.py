"""A model to evaluate while, or after, processes train it together."""

from __future__ import annotations

from copy import copy, deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ofacore.parallel.sharding import local

if TYPE_CHECKING:
    from collections.abc import Callable

    from ofacore.evaluation.validator import Validator
    from ofacore.generalist.facade import Generalist
    from ofacore.model.universal import UniversalModel


def whole_model(generalist: Generalist) -> UniversalModel:
    """The model itself, where it can compute with the exact weights that it holds; otherwise another with the same.

    A stage of a pipeline becomes a model with the weights of all stages. A model whose layers FSDP gathers in bf16
    becomes one that is split likewise, and gathers them as they are: so many bytes more as fp32 weights take.

    The processes of a run must call this together.
    """
    model = generalist.model
    if model.stage is not None:
        return _of_all_stages(generalist)
    return model if model.gathered_as in (None, torch.float32) else _in_fp32(generalist)


def on_whole_model(
    validator: Validator, generalist: Generalist
) -> Callable[[int], dict[str, float]]:
    """Validation, for which a model is put together for the time being where that is needed."""

    def validate(step: int) -> dict[str, float]:
        model = whole_model(generalist)
        if model is generalist.model:
            return validator(step)
        whole = copy(generalist)
        whole.model = model.eval()
        return replace(validator, generalist=whole)(step)

    return validate


def _of_all_stages(generalist: Generalist) -> UniversalModel:
    from ofacore.generalist.facade import build_model

    state = generalist.model.portable_state()
    model = build_model(generalist.assembly)
    model.load_portable(state)
    return model


@torch.no_grad()
def _in_fp32(generalist: Generalist) -> UniversalModel:
    from ofacore.generalist.facade import build_model

    model, twin = generalist.model, build_model(generalist.assembly)
    for key in model.criteria.keys() - twin.criteria.keys():
        twin.criteria[key] = deepcopy(model.criteria[key])
    twin.shard()
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    for name, parameter in twin.named_parameters():
        local(parameter).copy_(local(parameters[name]))
        parameter.requires_grad_(parameters[name].requires_grad)
    for name, buffer in twin.named_buffers():
        buffer.copy_(buffers[name])
    return twin
