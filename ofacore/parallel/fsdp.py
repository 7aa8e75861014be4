"""Layers whose parameters, gradients and optimiser state are split over data ranks: torch's ``fully_shard``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ofacore.parallel.process_groups import data_group, layout

_MARKS = ("tensor_model_parallel", "partition_dim", "partition_stride", "sequence_parallel")


def shard(layers: Iterable[nn.Module], dtype: torch.dtype | None = None) -> None:
    """Split every layer over the data ranks, if the layout says so; each is gathered while it computes.

    Parameters stay in the format that they have; ``dtype`` is that in which they are gathered.

    All data ranks must then call every layer equally often. Gradients are sums over data ranks. A parameter that had no
    part in a step gets zeros as its gradient: which parameters had none on any rank is not known.
    """
    if not layout().fsdp:
        return
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    device = "cuda" if torch.cuda.is_available() else "cpu"
    mesh = DeviceMesh.from_group(data_group(), device)
    policy = MixedPrecisionPolicy(
        param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    for layer in layers:
        marks = {name: _marks_of(parameter) for name, parameter in layer.named_parameters()}
        sharded = fully_shard(layer, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
        assert isinstance(sharded, FSDPModule)
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)
        sharded.set_reduce_scatter_unused_params(True)
        for name, parameter in layer.named_parameters():
            for key, value in marks[name].items():
                setattr(parameter, key, value)


def _marks_of(parameter: nn.Parameter) -> dict[str, Any]:
    """What megatron-core has written on a parameter."""
    return {mark: getattr(parameter, mark) for mark in _MARKS if hasattr(parameter, mark)}


@contextmanager
def gathered(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Run with whole layers where parts of them are called instead of the layer itself, as in decoding."""
    if not layout().fsdp:
        yield
        return
    from torch.distributed.fsdp import FSDPModule

    sharded = [layer for layer in layers if isinstance(layer, FSDPModule)]
    for layer in sharded:
        layer.unshard()
    try:
        yield
    finally:
        for layer in sharded:
            layer.reshard()
