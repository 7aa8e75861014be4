"""Exponential moving average of the weights, in fp32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ofacore.parallel.groups import data_group, layout, pipeline_group
from ofacore.parallel.sharded_optimizer import part_like, whole_of
from ofacore.parallel.sharding import from_all, local
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
        self.average = {name: local(p.detach()).float().clone() for name, p in self.parameters.items()}

    @torch.no_grad()
    def update(self, updates: int, values: Mapping[str, Tensor]) -> None:
        """Move the averages towards ``values`` (fp32 masters where there are some) after update number ``updates``."""
        share = 1 - min(self.decay, (1 + updates) / (10 + updates))
        targets = [local(values[name].detach()).float() for name in self.average]
        torch._foreach_lerp_(list(self.average.values()), targets, share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Run with the averaged weights in place; the trained ones come back bit for bit."""
        kept = {name: local(p.detach()).clone() for name, p in self.parameters.items()}
        try:
            self._copy(self.average)
            yield
        finally:
            self._copy(kept)

    @torch.no_grad()
    def _copy(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            local(parameter.detach()).copy_(values[name])

    def own_parts(self) -> dict[str, tuple[Tensor, nn.Parameter]]:
        """Portable name -> what this process holds of the average, and the parameter it is cut as."""
        return {
            part: (each, self.parameters[name])
            for name, value in self.average.items()
            for part, each in divided(self.rows(name), value).items()
        }

    def state(self) -> dict[str, Tensor]:
        """Portable name -> whole average, on every process; all of them must call this together."""
        found = {part: whole_of(value, parameter) for part, (value, parameter) in self.own_parts().items()}
        found = from_all(found, data_group()) if layout().expert > 1 else found
        return from_all(found, pipeline_group()) if layout().pipeline > 1 else found

    def load_state(self, state: Mapping[str, Tensor], whole: bool = True) -> None:
        """Restore what `state` returned; parameters and blocks without any start from their weights.

        ``whole=False``: ``state`` holds what this process keeps, as `own_parts` returns it.

        Raises:
            ValueError: A shape differs.
        """
        for name, average in self.average.items():
            parameter = self.parameters[name]
            average.copy_(local(parameter.detach()))
            own = {part: state[part] for part in self.rows(name) if part in state}
            gather(self.rows(name), {n: part_like(v, parameter) for n, v in own.items()} if whole else own, average)
