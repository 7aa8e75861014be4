"""Exponential moving average of the weights, in fp32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ofacore.train.portable import Rows, divided, gather


class Ema:
    """Averaged copies of every trained parameter.

    The decay rises as ``min(decay, (1 + n) / (10 + n))`` over the updates n, so that the average forgets the initial
    weights (as in Tensorflow's ``ExponentialMovingAverage(num_updates=...)``).

    Args:
        parameters: By name; those that are not trained have no average.
        decay: Limit of the decay.
        rows: Portable names of a parameter's rows, for `state`.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float, rows: Rows) -> None:
        self.rows = rows
        self.parameters = {name: p for name, p in parameters.items() if p.requires_grad}
        self.decay = decay
        self.average = {name: p.detach().float().clone() for name, p in self.parameters.items()}

    @torch.no_grad()
    def update(self, updates: int, values: Mapping[str, Tensor]) -> None:
        """Move the averages towards ``values`` (fp32 masters where there are some) after update number ``updates``."""
        share = 1 - min(self.decay, (1 + updates) / (10 + updates))
        targets = [values[name].detach().float() for name in self.average]
        torch._foreach_lerp_(list(self.average.values()), targets, share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Run with the averaged weights in place; the trained ones come back bit for bit."""
        kept = {name: p.detach().clone() for name, p in self.parameters.items()}
        try:
            self._copy(self.average)
            yield
        finally:
            self._copy(kept)

    @torch.no_grad()
    def _copy(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])

    def state(self) -> dict[str, Tensor]:
        """Portable name -> average."""
        found: dict[str, Tensor] = {}
        for name, value in self.average.items():
            found.update(divided(self.rows(name), value))
        return found

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned; parameters and blocks without any start from their weights.

        Raises:
            ValueError: A shape differs.
        """
        for name, average in self.average.items():
            average.copy_(self.parameters[name].detach())
            gather(self.rows(name), state, average)
