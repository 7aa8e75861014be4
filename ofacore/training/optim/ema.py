"""Exponential moving average of the weights, in fp32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ofacore.parallel.process_groups import data_group, layout, pipeline_group
from ofacore.parallel.sharded_optimizer import part_like, share_updates, whole_of
from ofacore.parallel.sharding import from_all, is_sharded, local
from ofacore.training.state.portable_state import Rows, divided, gather


class Ema:
    """Averaged copies of every trained parameter.

    The decay rises as ``min(decay, (1 + n) / (10 + n))`` over the updates n, so that the average forgets the initial
    weights (as in Tensorflow's ``ExponentialMovingAverage(num_updates=...)``).

    Args:
        parameters: By name; those that are not trained have no average.
        decay: Limit of the decay.
        rows: Portable names of a parameter's rows, for `state`.
        values: fp32 values of those that this process averages; default: of all parameters.
        owner_of: Parameter name -> rank that averages it, where data ranks share the optimiser's state.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        decay: float,
        rows: Rows,
        values: Mapping[str, Tensor] | None = None,
        owner_of: Mapping[str, int] | None = None,
    ) -> None:
        self.rows, self.owner_of = rows, owner_of or {}
        self.parameters = {name: p for name, p in parameters.items() if p.requires_grad}
        self.decay = decay
        begun = self.parameters if values is None else values
        self.average = {
            name: local(value.detach()).float().clone() for name, value in begun.items()
        }

    @torch.no_grad()
    def update(self, updates: int, values: Mapping[str, Tensor]) -> None:
        """Move the averages towards ``values`` (fp32 masters where there are some) after update number ``updates``."""
        share = 1 - min(self.decay, (1 + updates) / (10 + updates))
        targets = [local(values[name].detach()).float() for name in self.average]
        if targets:
            torch._foreach_lerp_(list(self.average.values()), targets, share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Run with the averaged weights in place; the trained ones come back bit for bit.

        Parameters must hold their exact values. Where data ranks share the averages, all must enter together.
        """
        kept = {name: _aside(parameter) for name, parameter in self.parameters.items()}
        try:
            self.place()
            yield
        finally:
            for name, parameter in self.parameters.items():
                _put(parameter, kept[name])

    def place(self) -> None:
        """Put the averaged weights in place for good; see `applied`."""
        for name, parameter in self.parameters.items():
            _put(parameter, self._averaged(name, parameter))
        if self.owner_of:
            share_updates(self.parameters, self.owner_of)

    def _averaged(self, name: str, parameter: nn.Parameter) -> Tensor:
        """The average of a parameter; its own value where this process keeps none."""
        if name in self.average:
            return self.average[name]
        return local(parameter.detach()).clone()

    def own_parts(self) -> dict[str, tuple[Tensor, nn.Parameter]]:
        """Portable name -> what this process holds of the average, and the parameter it is cut as."""
        return {
            part: (each, self.parameters[name])
            for name, value in self.average.items()
            for part, each in divided(self.rows(name), value).items()
        }

    def state(self) -> dict[str, Tensor]:
        """Portable name -> whole average, on every process; all of them must call this together."""
        found = {
            part: whole_of(value, parameter)
            for part, (value, parameter) in self.own_parts().items()
        }
        found = from_all(found, data_group()) if layout().expert > 1 or self.owner_of else found
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
            parts = {n: part_like(v, parameter) for n, v in own.items()} if whole else own
            gather(
                self.rows(name),
                parts,
                average,
            )


def _aside(parameter: nn.Parameter) -> Tensor:
    """The memory of a parameter, or where FSDP holds on to that, a copy."""
    return local(parameter.detach()).clone() if is_sharded(parameter) else parameter.detach()


@torch.no_grad()
def _put(parameter: nn.Parameter, value: Tensor) -> None:
    """Give a parameter other memory, or where FSDP holds on to its own, other values."""
    if is_sharded(parameter):
        local(parameter.detach()).copy_(value)
    else:
        parameter.data = value
