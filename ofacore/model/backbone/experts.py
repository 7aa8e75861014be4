"""Feed-forward networks: one for all positions, or several that a router chooses from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ofacore.config.model_section import ModelConfig
from ofacore.config.sizes import Sizes, expert_sizes
from ofacore.model.backbone.attention_rows import permute
from ofacore.model.backbone.dropout import dropout, own_random_numbers
from ofacore.model.backbone.routing import Route, RouterChoice, Routing, nowhere
from ofacore.parallel.host_transfer import to_device
from ofacore.parallel.norms import SplitNorm
from ofacore.parallel.process_groups import expert_group, expert_rank, expert_size
from ofacore.parallel.regions import exchanged, join_positions, split_positions
from ofacore.parallel.sharding import mark_expert
from ofacore.parallel.split_layers import ColumnLinear, RowLinear

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "relu": functional.relu,
    "silu": functional.silu,
}


class FeedForward(nn.Module):
    """Two linears with an activation between them; ``scale_fc`` adds a norm behind the activation (NormFormer)."""

    def __init__(self, config: ModelConfig, sizes: Sizes, sequence: bool = True) -> None:
        super().__init__()
        self.up = ColumnLinear(sizes.hidden, sizes.ffn, sequence=sequence)
        self.norm = SplitNorm(sizes.ffn) if config.scale_fc else None
        self.down = RowLinear(sizes.ffn, sizes.hidden, sequence=sequence)
        self.activation = _ACTIVATIONS[config.activation]
        self.rate = config.activation_dropout

    def forward(self, x: Tensor) -> Tensor:
        """[n, H] -> [n, H]."""
        x = self.up(x)
        if self.norm is not None and torch.is_grad_enabled():
            return self.down(checkpoint(self._inner, x, use_reentrant=False))  # type: ignore[no-any-return]
        return self.down(self._inner(x))  # type: ignore[no-any-return]

    def _inner(self, x: Tensor) -> Tensor:
        """What costs little to compute again: with a norm, autograd would keep three tensors of the inner width."""
        x = self.activation(x)
        with own_random_numbers(self.training and self.rate > 0.0):
            x = dropout(x, self.rate, self.training)
        return x if self.norm is None else self.norm(x)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class ExpertsPlan:
    """The feed-forward experts of every layer."""

    names: tuple[str, ...]
    """In the order in which they joined."""
    router: RouterChoice
    k: int
    """Experts for each position that the configuration asks for."""

    def build(self, hidden: int) -> Any:
        """A router for states of that width."""
        return self.router.made(self.names, hidden, self.k)


class Experts(nn.Module):
    """Several feed-forward networks, keyed by name in the order in which they joined.

    One more may be shared by all positions; what it gives is added (Dai et al. 2024, "DeepSeekMoE").

    Under expert parallelism each rank of the expert group holds some of them, and positions travel to theirs and back
    (Lepikhin et al. 2020). All its ranks then have to call this together, if need be without any positions: `idle`.
    """

    def __init__(self, config: ModelConfig, sizes: Sizes, plan: ExpertsPlan) -> None:
        super().__init__()
        self.plan, self.names, self.own = plan, plan.names, own_experts(len(plan.names))
        mine = [self.names[number] for number in self.own]
        small = expert_sizes(config, sizes)
        self.each = nn.ModuleDict(
            {name: FeedForward(config, small, sequence=False) for name in mine}
        )
        mark_expert(self.each)
        self.shared: FeedForward | None = None
        if config.experts_shared:
            common = replace(sizes, ffn=config.experts_shared)
            self.shared = FeedForward(config, common, sequence=False)
        self.router: nn.Module | None = plan.build(sizes.hidden) if plan.router.by_layer else None

    def forward(
        self, x: Tensor, route: Route | None, positions: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """States [N, H] -> states [N, H] and the loss of a router that each layer has.

        ``positions``: N, where ``x`` holds the share of this process under sequence parallelism.
        """
        if positions is not None:
            y, loss = self.forward(join_positions(x, positions), route)
            return split_positions(y), loss
        routing, loss = self._routing(x, route)
        k = len(routing.order) // max(1, len(x))
        pairs = x.repeat_interleave(k, dim=0) if k > 1 else x
        y = self._dispatch(pairs, routing)
        if routing.gates is not None:
            y = (
                (y * routing.gates.flatten().unsqueeze(1).to(y.dtype))
                .unflatten(0, (-1, routing.gates.shape[1]))
                .sum(1)
            )
        if self.shared is not None:
            y = y + self.shared(x)
        return y, loss

    def _routing(self, x: Tensor, route: Route | None) -> tuple[Routing, Tensor | None]:
        if isinstance(route, Routing):
            return route, None
        assert route is not None
        return self.plan.router.routing(self.router, route, x, len(self.names))

    def idle(self, x: Tensor, routing: Routing) -> Tensor:
        """Take part in the exchange without positions: [0, H] -> [0, H]; ``routing`` is shared as in `forward`."""
        fixed = routing if self.router is None else nowhere(len(self.names), x.device)
        return self._dispatch(x, fixed)

    def _dispatch(self, x: Tensor, routing: Routing) -> Tensor:
        there = permute(x, routing.order, routing.inverse)
        there = (
            self._by_expert(there, routing.sizes)
            if expert_size() == 1
            else self._exchange(there, routing)
        )
        return permute(there, routing.inverse, routing.order)

    def _by_expert(self, x: Tensor, sizes: Sequence[int]) -> Tensor:
        """Own experts, each on its positions; ``sizes`` of each."""
        parts = x.split(list(sizes))
        pairs = [
            (expert, part)
            for expert, part in zip(self.each.values(), parts, strict=True)
            if len(part)
        ]
        results = [
            expert(part) if self.training else _as_in_many(expert, part, len(x))
            for expert, part in pairs
        ]
        return torch.cat(results) if results else x

    def _exchange(self, x: Tensor, routing: Routing) -> Tensor:
        """Positions sorted by expert -> the same from the ranks that hold the experts."""
        if routing.everywhere is None:
            routing.everywhere = _on_all_ranks(routing.sizes, x.device)
        sent = [self._sent_to(rank, routing.sizes) for rank in range(expert_size())]
        counts = torch.tensor(routing.everywhere)[:, self.own.start : self.own.stop]
        received = counts.sum(1).tolist()
        expert = torch.arange(len(self.own)).repeat(expert_size())
        order = torch.argsort(
            to_device(expert.repeat_interleave(counts.flatten()), x.device), stable=True
        )
        inverse = torch.argsort(order)
        here = permute(exchanged(x, expert_group(), sent, received), order, inverse)
        here = permute(self._by_expert(here, counts.sum(0).tolist()), inverse, order)
        return exchanged(here, expert_group(), received, sent)

    def _sent_to(self, rank: int, sizes: Sequence[int]) -> int:
        """Positions of this process for the experts that a rank holds."""
        return sum(sizes[number] for number in own_experts(len(self.names), rank))


_FEW = 8
"""Rows below which libraries multiply matrices by other kernels, which round differently."""


def _as_in_many(expert: nn.Module, x: Tensor, rows: int) -> Tensor:
    """An expert's result for ``x`` [n, H], bit for bit as among ``rows`` rows: equal experts are one dense layer."""
    missing = min(rows, _FEW) - len(x)
    enough = torch.cat([x, x.new_zeros(missing, x.shape[1])]) if missing > 0 else x
    result: Tensor = expert(enough)
    return result[: len(x)]


def own_experts(number: int, rank: int | None = None) -> range:
    """Which of so many experts a rank of the expert group holds; default: this one. All where there is one rank."""
    rank, each = expert_rank() if rank is None else rank, -(-number // expert_size())
    return range(min(number, rank * each), min(number, (rank + 1) * each))


def _on_all_ranks(sizes: Sequence[int], device: torch.device) -> list[list[int]]:
    own = torch.tensor(sizes, dtype=torch.int64, device=device)
    found = [torch.empty_like(own) for _ in range(expert_size())]
    dist.all_gather(found, own, group=expert_group())
    return [each.tolist() for each in found]
