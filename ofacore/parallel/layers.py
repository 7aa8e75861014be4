"""Linear layers and the embedding that tensor parallelism splits, on megatron-core.

With one process they compute exactly the same through torch's fused kernels (megatron adds the bias in a pass of its
own). Parameters start unset: the model gives every parameter its initial value by name.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional

from ofacore.parallel.groups import start, tensor_size
from ofacore.parallel.megatron import megatron

_layers = megatron("tensor_parallel.layers")


def _config() -> object:
    start()
    return megatron("model_parallel_config").ModelParallelConfig(
        tensor_model_parallel_size=tensor_size(),
        use_cpu_initialization=not torch.cuda.is_available(),
        params_dtype=torch.float32,
    )


def _group() -> object:
    start()
    return megatron("parallel_state").get_tensor_model_parallel_group()


def _unset(weight: Tensor) -> Tensor:
    return nn.init.zeros_(weight)


class _CurrentGroup:
    """Gives megatron's layers the group of this process by name, so that they can be copied and pickled."""

    @property
    def tp_group(self) -> object:
        return _group()

    @tp_group.setter
    def tp_group(self, group: object) -> None:
        """Megatron sets what it was given; the property knows better."""


class ColumnLinear(_CurrentGroup, _layers.ColumnParallelLinear):  # type: ignore[misc, name-defined]
    """``x [..., inputs] -> [..., outputs / tensor size]``: the output is split over processes."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(
            inputs, outputs, config=_config(), init_method=_unset, bias=bias, gather_output=False,
            tp_group=_group(),
        )  # fmt: skip
        self.single = tensor_size() == 1

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        if self.single:
            return functional.linear(x, self.weight, self.bias)
        return super().forward(x)[0]  # type: ignore[no-any-return]


class RowLinear(_CurrentGroup, _layers.RowParallelLinear):  # type: ignore[misc, name-defined]
    """``x [..., inputs / tensor size] -> [..., outputs]``: takes what a `ColumnLinear` made."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(
            inputs, outputs, config=_config(), init_method=_unset, bias=bias, input_is_parallel=True,
            skip_bias_add=False, tp_group=_group(),
        )  # fmt: skip
        self.single = tensor_size() == 1

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        if self.single:
            return functional.linear(x, self.weight, self.bias)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Warning: tp_group is None", category=DeprecationWarning)
            return super().forward(x.contiguous())[0]  # type: ignore[no-any-return]


class VocabEmbedding(_CurrentGroup, _layers.VocabParallelEmbedding):  # type: ignore[misc, name-defined]
    """Embedding ``[tokens, hidden]``, rows split over processes."""

    def __init__(self, tokens: int, hidden: int) -> None:
        super().__init__(tokens, hidden, init_method=_unset, config=_config(), tp_group=_group())
        self.single = tensor_size() == 1
