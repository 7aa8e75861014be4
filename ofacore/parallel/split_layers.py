"""Linear layers and the embedding that tensor parallelism splits, on megatron-core.

With one process they compute the same through fused kernels (megatron adds the bias in a pass of its own). Parameters
start unset: the model gives every parameter its initial value by name.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ofacore.parallel.megatron import megatron
from ofacore.parallel.process_groups import sequence_parallel, start, tensor_size
from ofacore.parallel.products import linear
from ofacore.parallel.sharding import mark_split, own_part

_layers = megatron("tensor_parallel.layers")


def _config(sequence: bool) -> object:
    start()
    return megatron("model_parallel_config").ModelParallelConfig(
        tensor_model_parallel_size=tensor_size(),
        sequence_parallel=sequence and sequence_parallel(),
        use_cpu_initialization=True,  # the whole model moves to its device at once, when it is built
        perform_initialization=False,  # it makes the whole matrix twice more on its way
        params_dtype=torch.float32,
    )


def _group() -> object:
    start()
    return megatron("parallel_state").get_tensor_model_parallel_group()


def _unset(linear: nn.Module, dim: int) -> None:
    """Zeros in place, and the marks that megatron's own initialisation sets."""
    weight, bias = linear.weight, linear.bias
    nn.init.zeros_(weight)  # type: ignore[arg-type]
    if bias is not None:
        nn.init.zeros_(bias)  # type: ignore[arg-type]
    weight.tensor_model_parallel = True  # type: ignore[union-attr]
    weight.partition_dim, weight.partition_stride = dim, 1  # type: ignore[union-attr]


class _CurrentGroup:
    """Gives megatron's layers the group of this process by name, so that they can be copied and pickled."""

    @property
    def tp_group(self) -> object:
        return _group()

    @tp_group.setter
    def tp_group(self, group: object) -> None:
        """Megatron sets what it was given; the property knows better."""


class ColumnLinear(_CurrentGroup, _layers.ColumnParallelLinear):  # type: ignore[misc, name-defined]
    """``x [..., inputs] -> [..., outputs / tensor size]``: the output is split over processes.

    Args:
        inputs: Width of the input.
        outputs: Width of the output, over all processes.
        bias: Whether to add one.
        sequence: The input is a stream whose positions sequence parallelism splits; they are gathered first.
            Otherwise every process has all of them, always.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True, sequence: bool = True) -> None:
        super().__init__(
            inputs,
            outputs,
            config=_config(sequence),
            init_method=nn.init.zeros_,
            bias=bias,
            gather_output=False,
            tp_group=_group(),
        )
        _unset(self, 0)
        self.single = tensor_size() == 1

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        if self.single:
            return linear(x, self.weight, self.bias)
        return super().forward(x)[0]  # type: ignore[no-any-return]

    def whole_positions(self, whole: bool) -> None:
        """Whether every process has all positions from now on, as in decoding."""
        self.sequence_parallel = self.config.sequence_parallel and not whole
        self.allreduce_dgrad = not self.single and not self.sequence_parallel


class RowLinear(_CurrentGroup, _layers.RowParallelLinear):  # type: ignore[misc, name-defined]
    """``x [..., inputs / tensor size] -> [..., outputs]``: takes what a `ColumnLinear` made.

    Args:
        inputs: Width of the input, over all processes.
        outputs: Width of the output.
        bias: Whether to add one.
        sequence: The output is a stream whose positions sequence parallelism splits.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True, sequence: bool = True) -> None:
        super().__init__(
            inputs,
            outputs,
            config=_config(sequence),
            init_method=nn.init.zeros_,
            bias=bias,
            input_is_parallel=True,
            skip_bias_add=False,
            tp_group=_group(),
        )
        _unset(self, 1)
        self.single = tensor_size() == 1

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        if self.single:
            return linear(x, self.weight, self.bias)
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="Warning: tp_group is None", category=DeprecationWarning
            )
            return super().forward(x.contiguous())[0]  # type: ignore[no-any-return]

    def whole_positions(self, whole: bool) -> None:
        """Whether every process gets all positions from now on, as in decoding."""
        self.sequence_parallel = self.config.sequence_parallel and not whole


@contextmanager
def whole_positions(model: nn.Module) -> Iterator[None]:
    """Run with every process having all positions: one step of decoding has too few to split."""
    linears = (
        [m for m in model.modules() if isinstance(m, ColumnLinear | RowLinear)]
        if sequence_parallel()
        else []
    )
    for module in linears:
        module.whole_positions(True)
    try:
        yield
    finally:
        for module in linears:
            module.whole_positions(False)


@torch.no_grad()
def keep_part(module: nn.Module, **dims: int) -> None:
    """Replace whole parameters of a module by this process's parts: ``keep_part(linear, weight=0, bias=0)``."""
    for name, dim in dims.items():
        whole = getattr(module, name)
        part = nn.Parameter(own_part(whole, dim).clone()) if tensor_size() > 1 else whole
        mark_split(part, dim)
        setattr(module, name, part)


class VocabEmbedding(nn.Module):
    """The rows ``[rows, hidden]`` of a vocabulary that this process holds; see `ofacore.model.tokens.embedding`."""

    def __init__(self, rows: int, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(rows, hidden))
        mark_split(self.weight, 0)
