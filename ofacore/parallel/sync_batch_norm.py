"""Batch normalisation with the statistics of all data-parallel ranks, on any device.

PyTorch's own layer has no kernel for CPUs. On GPUs it is used; elsewhere the same sums are made here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ofacore.parallel import process_groups as groups

_counted: ContextVar[bool] = ContextVar("counted", default=True)


@contextmanager
def uncounted() -> Iterator[None]:
    """What is computed within takes part in the communication, but counts for no statistics."""
    token = _counted.set(False)
    try:
        yield
    finally:
        _counted.reset(token)


class SyncBatchNorm(nn.SyncBatchNorm):
    """`torch.nn.SyncBatchNorm` (Ioffe & Szegedy 2015) over the data-parallel ranks, on CPUs too.

    Names, options and running statistics (momentum, unbiased variance) are those of PyTorch's layer. In evaluation, and
    on one rank alone, it is plain batch normalisation. In training every data rank must call it equally often.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, ...] -> the same shape.

        Raises:
            ValueError: All ranks together have one value for each channel, which has no variance.
        """
        group = _group() if self.training else None
        if group is None:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, *self._update()
            )
        if x.device.type == "cuda":
            return self._by_torch(x, group)
        states, mean, variance, count = _Normalised.apply(
            x, self.weight, self.bias, self.eps, group, _counted.get()
        )
        self._remember(mean, variance, count)
        return states  # type: ignore[no-any-return]

    def _by_torch(self, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        self.process_group = group
        if _counted.get():
            return super().forward(x)  # type: ignore[no-any-return]
        return x + super().forward(x[:0]).sum()  # type: ignore[no-any-return]

    def _update(self) -> tuple[bool, float, float]:
        """Whether the batch's statistics are used, how much they change those that are kept, and ``eps``."""
        return self.training, self._momentum() if self.training else 0.0, self.eps

    def _momentum(self) -> float:
        self.num_batches_tracked.add_(1)
        return 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Running statistics move towards those of the batch; its variance is made unbiased."""
        momentum = self._momentum()
        unbiased = variance * (count / (count - 1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)


def synchronised(module: nn.Module) -> nn.Module:
    """The module with a `SyncBatchNorm` in the place of each batch normalisation, with its weights and statistics."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm) and not isinstance(
        module, SyncBatchNorm
    ):
        kind = {"device": module.weight.device, "dtype": module.weight.dtype}
        found = SyncBatchNorm(module.num_features, module.eps, module.momentum, **kind)
        found.load_state_dict(module.state_dict())
        found.requires_grad_(module.weight.requires_grad)
        return found.train(module.training)
    for name, child in module.named_children():
        setattr(module, name, synchronised(child))
    return module


def _group() -> dist.ProcessGroup | None:
    """The data-parallel ranks; None where there is one."""
    if not dist.is_initialized():
        return None
    groups.start()
    return groups.data_group() if groups.data_size() > 1 else None


class _Normalised(torch.autograd.Function):
    """States, mean [C], biased variance [C] and count [] over all ranks; one all-reduce each way.

    Sums over ranks are made in float64: of a mean and a mean of squares, whose difference is the variance.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
        group: dist.ProcessGroup,
        counted: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        dims, shape = _dims(x)
        own = x.numel() // x.shape[1] if counted else 0
        kind = _precise(x)
        variance, mean = (part.double() for part in torch.var_mean(x.to(kind), dims, correction=0))
        sums = torch.cat([mean * own, (variance + mean.square()) * own, mean.new_tensor([own])])
        dist.all_reduce(sums, group=group)
        count = sums[-1].clone()
        if count < 2:
            raise ValueError(
                f"batch normalisation in training over {int(count)} value for each channel"
            )
        mean, square = (part / count for part in sums[:-1].chunk(2))
        variance = (square - mean.square()).clamp(min=0)
        scale, centre = (variance + eps).rsqrt().to(kind), mean.to(kind)
        normal = (x.to(kind) - centre.view(shape)) * scale.view(shape)
        ctx.save_for_backward(x, weight, centre, scale)
        ctx.count, ctx.group, ctx.counted = float(count), group, counted
        found = (normal * weight.to(kind).view(shape) + bias.to(kind).view(shape)).to(x.dtype)
        ctx.mark_non_differentiable(mean, variance, count)
        return found, mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        x, weight, centre, scale = ctx.saved_tensors
        dims, shape = _dims(x)
        gradient = gradients[0].to(centre.dtype)
        normal = (x.to(centre.dtype) - centre.view(shape)) * scale.view(shape)
        own = torch.cat([gradient.sum(dims), (gradient * normal).sum(dims)])
        sums = own.to(torch.float64, copy=True)
        dist.all_reduce(sums, group=ctx.group)
        mean, along = (sums / ctx.count).to(centre.dtype).chunk(2)
        bias, weights = own.chunk(2)
        scale = (scale * weight.to(centre.dtype)).view(shape)
        if ctx.counted:
            gradient = gradient - mean.view(shape) - normal * along.view(shape)
        change = gradient * scale
        return change.to(x.dtype), weights.to(weight.dtype), bias.to(weight.dtype), None, None, None


def _precise(x: Tensor) -> torch.dtype:
    """What is computed in: half precision is widened."""
    return torch.promote_types(x.dtype, torch.float32)


def _dims(x: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """All dimensions but the channels', and the shape of a value for each channel."""
    return (0, *range(2, x.dim())), (1, -1, *[1] * (x.dim() - 2))
