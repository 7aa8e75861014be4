"""A model that computes in bf16 and loses nothing: its exact fp32 values are kept, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ofacore.parallel.sharded_optimizer import share_updates
from ofacore.parallel.sharding import is_sharded

_HALF = 0x8000
"""Half of the step between two neighbours in bf16, in the bit pattern of an fp32 number."""


class RoundedWeights:
    """Rounded weights and buffers of a model, and where their exact values are.

    A trained parameter's exact value is the optimiser's master; of everything else the bits that rounding cuts off are
    kept. Layers that FSDP splits have no part in this: they hold fp32, and round what they gather.

    Args:
        model: Rounded in place.
        dtype: Format to compute in.
        masters: Trained parameter's name -> fp32 master, of those that this process keeps.
        trained: Names of all trained parameters.
        owner_of: Parameter name -> rank that keeps its master, where data ranks share them.
    """

    def __init__(
        self,
        model: nn.Module,
        dtype: torch.dtype,
        masters: Mapping[str, Tensor],
        trained: frozenset[str],
        owner_of: Mapping[str, int],
    ) -> None:
        self.dtype, self.masters, self.owner_of = dtype, masters, owner_of
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        kept = {n: t for n, t in tensors.items() if t.is_floating_point() and not is_sharded(t)}
        self.trained = {name: tensor for name, tensor in kept.items() if name in trained}
        self.others = [
            RoundedTensor(tensor, dtype) for name, tensor in kept.items() if name not in trained
        ]
        self._round_trained()

    @contextmanager
    def exact(self, everywhere: bool = True) -> Iterator[None]:
        """Exact values in place, to be read or changed; afterwards they are rounded anew.

        Args:
            everywhere: Where data ranks share the masters, each gets those of the others: all must enter together.
                Otherwise what others keep stays rounded.
        """
        self.restore(everywhere)
        try:
            yield
        finally:
            self._round_trained()
            for other in self.others:
                other.round()

    def restore(self, everywhere: bool = True) -> None:
        """Exact values in place, for good; masters are not copied. See `exact`."""
        for other in self.others:
            other.restore()
        for name, parameter in self.trained.items():
            if name in self.masters:
                parameter.data = self.masters[name].detach()
            elif everywhere:
                parameter.data = parameter.detach().float()
        if everywhere and self.owner_of:
            share_updates(self.trained, self.owner_of)

    def foreign(self) -> list[str]:
        """Trained parameters whose exact value another process keeps."""
        return [name for name in self.trained if name not in self.masters]

    def _round_trained(self) -> None:
        for parameter in self.trained.values():
            parameter.data = parameter.detach().to(self.dtype)


class RoundedTensor:
    """A tensor in bf16, in place, and the 16 bits an element that are missing to its exact value in fp32.

    Together they take as much memory as fp32. Where the rounded tensor changes afterwards, as running statistics do,
    its exact value still rounds to what it has become.

    Args:
        tensor: A parameter or buffer; its ``data`` are replaced.
        dtype: Format to compute in: bf16, or that of the tensor.
    """

    def __init__(self, tensor: Tensor, dtype: torch.dtype) -> None:
        self.tensor, self.dtype = tensor, dtype
        self._missing: Tensor | None = None
        """int16; None where rounding changed nothing."""
        self.round()

    @torch.no_grad()
    def round(self) -> None:
        """From the exact value, which may have changed, to the rounded one."""
        exact = self.tensor.detach()
        if exact.dtype != torch.float32 or self.dtype != torch.bfloat16:
            self.tensor.data = exact.to(self.dtype)
            return
        rounded, missing = split(exact)
        self.tensor.data, self._missing = rounded, missing if bool(missing.any()) else None

    @torch.no_grad()
    def restore(self) -> None:
        """The exact value in place, in fp32."""
        rounded = self.tensor.detach()
        exact = rounded.float() if self._missing is None else joined(rounded, self._missing)
        self.tensor.data, self._missing = exact, None


def split(exact: Tensor) -> tuple[Tensor, Tensor]:
    """fp32 -> the nearest in bf16, and the difference of the bit patterns, int16; of the same shape.

    Halfway between two neighbours the one of larger magnitude is taken, so that 16 bits hold every difference.
    """
    bits = exact.contiguous().view(torch.int32)
    high = exact.bfloat16().contiguous().view(torch.int16).to(torch.int32)
    high += bits - (high << 16) == _HALF
    missing = (bits - (high << 16)).to(torch.int16)
    return high.to(torch.int16).view(torch.bfloat16), missing


def joined(rounded: Tensor, missing: Tensor) -> Tensor:
    """What `split` was given, bit for bit; of elements that changed since, a value that rounds to them."""
    high = rounded.contiguous().view(torch.int16).to(torch.int32)
    became_zero = (high & 0x7FFF == 0) & (missing < 0)
    bits = (high << 16) + missing.masked_fill(became_zero, 0)
    return bits.view(torch.float32)
