"""Feed-forward networks: one for all positions, or several that a router chooses from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ofacore.config.schema import ModelConfig
from ofacore.model.dropout import dropout, own_random_numbers
from ofacore.model.presets import Sizes
from ofacore.model.rows import permute
from ofacore.parallel.groups import expert_group, expert_rank, expert_size
from ofacore.parallel.layers import ColumnLinear, RowLinear
from ofacore.parallel.norms import SplitNorm
from ofacore.parallel.regions import exchanged, join_positions, split_positions
from ofacore.parallel.sharding import mark_expert
from ofacore.parts.transfer import numbers_on, to_device
from ofacore.protocols import Layout

_DENSE = re.compile(r"^(.*\.ffn)\.((?:up|norm|down)\..+)$")
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


@dataclass
class Routing:
    """Positions sorted by expert."""

    order: Tensor
    """int64 [N * k]: (position, choice) pairs, sorted by expert; pair p belongs to position p // k."""
    inverse: Tensor
    """int64 [N * k]: the way back, `order` at this place is that pair."""
    sizes: tuple[int, ...]
    """Pairs of each expert."""
    everywhere: list[list[int]] | None = None
    """Pairs of each expert on every rank of the expert group, once they are known."""


def sort_by_expert(experts: Tensor, number: int, sizes: tuple[int, ...] | None = None) -> Routing:
    """Experts int64 [N, k] -> pairs sorted by expert; ``sizes``: pairs of each, where the host knows."""
    flat = experts.flatten()
    if sizes is None:
        sizes = tuple(torch.bincount(flat, minlength=number).tolist())
    order = torch.argsort(flat, stable=True)
    return Routing(order, torch.argsort(order), sizes)


def fixed_sizes(names: Sequence[str], present: Sequence[str], counts: Sequence[int] | None) -> tuple[int, ...] | None:
    """Positions of each expert, from the number of each adapter's or task's; None where those are not known."""
    if counts is None:
        return None
    known = dict(zip(present, counts, strict=True))
    return tuple(known.get(name, 0) for name in names)


def nowhere(number: int, device: torch.device) -> Routing:
    """No positions for so many experts."""
    none = torch.zeros(0, dtype=torch.int64, device=device)
    return Routing(none, none, (0,) * number)


class ModalityRouter:
    """The adapter that made a position is its expert (OFASys' modality experts)."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.names: Sequence[str] = options["names"]

    def __call__(self, layout: Layout, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(experts [N, 1], gates of one [N, 1])."""
        return _fixed(self.names, layout.adapters, layout.adapter, layout.facts.adapters if layout.facts else None)


class TaskRouter:
    """The task of a position is its expert."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.names: Sequence[str] = options["names"]

    def __call__(self, layout: Layout, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(experts [N, 1], gates of one [N, 1])."""
        return _fixed(self.names, layout.tasks, layout.task, layout.facts.tasks if layout.facts else None)


def _fixed(
    names: Sequence[str], present: Sequence[str], index: Tensor, counts: Sequence[int] | None
) -> tuple[Tensor, Tensor]:
    """``counts``: positions of each of ``present``; None: the host does not know."""
    table = numbers_on([names.index(name) if name in names else -1 for name in present], index.device)
    experts = table[index].unsqueeze(1)
    if counts is None:
        homeless = bool((experts < 0).any())
    else:
        homeless = any(count and name not in names for name, count in zip(present, counts, strict=True))
    if homeless:
        raise ValueError(f"positions of {sorted(set(present) - set(names))} have no expert; there are {list(names)}")
    return experts, torch.ones(experts.shape, device=index.device)


class TopKRouter(nn.Module):
    """A learned softmax over experts; the k largest share the position (Shazeer et al. 2017).

    Options: ``hidden``, ``number`` of experts, ``k``.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.number, self.k = int(options["number"]), int(options["k"])
        self.weight = nn.Parameter(torch.zeros(self.number, int(options["hidden"])))

    def forward(self, layout: Layout, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(experts [N, k], gates [N, k]); gates add up to one if k > 1."""
        return self.route(hidden)[:2]

    def route(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Experts, gates, and the balance loss: 1 for an even use of all experts (Fedus et al. 2021)."""
        probabilities = functional.linear(hidden.float(), self.weight.float()).softmax(-1)
        gates, experts = probabilities.topk(self.k, dim=-1)
        if self.k > 1:
            gates = gates / gates.sum(-1, keepdim=True)
        used = functional.one_hot(experts, self.number).float().mean((0, 1))
        return experts, gates, self.number * (used * probabilities.mean(0)).sum()


def dense_to_experts(state: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """The portable state of a dense model, with each feed-forward network copied into every expert of those names.

    A model with fixed experts (by modality or task) that loads it computes what the dense model does.
    """
    spread: dict[str, Tensor] = {}
    for name, value in state.items():
        match = _DENSE.match(name)
        if match is None:
            spread[name] = value
            continue
        network, part = match.groups()
        spread.update({f"{network}.each.{expert}.{part}": value.clone() for expert in names})
    return spread


class Experts(nn.Module):
    """Several feed-forward networks, keyed by name in the order in which they joined.

    Under expert parallelism each rank of the expert group holds some of them, and positions travel to theirs and back
    (Lepikhin et al. 2020). All its ranks then have to call this together, if need be without any positions: `idle`.
    """

    def __init__(self, config: ModelConfig, sizes: Sizes, names: Sequence[str]) -> None:
        super().__init__()
        self.names, self.own = tuple(names), own_experts(len(names))
        mine = [names[number] for number in self.own]
        self.each = nn.ModuleDict({name: FeedForward(config, sizes, sequence=False) for name in mine})
        mark_expert(self.each)
        self.router: TopKRouter | None = None
        if config.experts == "topk":
            k = min(config.experts_k, len(names))
            self.router = TopKRouter({"hidden": sizes.hidden, "number": len(names), "k": k})

    def forward(self, x: Tensor, routing: Routing | None, positions: int | None = None) -> tuple[Tensor, Tensor | None]:
        """States [N, H] -> states [N, H] and the balance loss of a learned router.

        ``positions``: N, where ``x`` holds the share of this process under sequence parallelism.
        """
        if positions is not None:
            y, balance = self.forward(join_positions(x, positions), routing)
            return split_positions(y), balance
        if self.router is None:
            assert routing is not None
            return self._dispatch(x, routing), None
        experts, gates, balance = self.router.route(x)
        pairs = x.repeat_interleave(self.router.k, dim=0) if self.router.k > 1 else x
        y = self._dispatch(pairs, sort_by_expert(experts, len(self.names)))
        y = (y * gates.flatten().unsqueeze(1).to(y.dtype)).unflatten(0, (-1, self.router.k)).sum(1)
        return y, balance

    def idle(self, x: Tensor, routing: Routing) -> Tensor:
        """Take part in the exchange without positions: [0, H] -> [0, H]; ``routing`` is shared as in `forward`."""
        return self._dispatch(x, routing if self.router is None else nowhere(len(self.names), x.device))

    def _dispatch(self, x: Tensor, routing: Routing) -> Tensor:
        there = permute(x, routing.order, routing.inverse)
        there = self._by_expert(there, routing.sizes) if expert_size() == 1 else self._exchange(there, routing)
        return permute(there, routing.inverse, routing.order)

    def _by_expert(self, x: Tensor, sizes: Sequence[int]) -> Tensor:
        """Own experts, each on its positions; ``sizes`` of each."""
        parts = x.split(list(sizes))
        pairs = [(expert, part) for expert, part in zip(self.each.values(), parts, strict=True) if len(part)]
        results = [expert(part) if self.training else _as_in_many(expert, part, len(x)) for expert, part in pairs]
        return torch.cat(results) if results else x

    def _exchange(self, x: Tensor, routing: Routing) -> Tensor:
        """Positions sorted by expert -> the same from the ranks that hold the experts."""
        if routing.everywhere is None:
            routing.everywhere = _on_all_ranks(routing.sizes, x.device)
        sent = [sum(routing.sizes[n] for n in own_experts(len(self.names), rank)) for rank in range(expert_size())]
        counts = torch.tensor(routing.everywhere)[:, self.own.start : self.own.stop]
        received = counts.sum(1).tolist()
        expert = torch.arange(len(self.own)).repeat(expert_size())
        order = torch.argsort(to_device(expert.repeat_interleave(counts.flatten()), x.device), stable=True)
        inverse = torch.argsort(order)
        here = permute(exchanged(x, expert_group(), sent, received), order, inverse)
        here = permute(self._by_expert(here, counts.sum(0).tolist()), inverse, order)
        return exchanged(here, expert_group(), received, sent)


_FEW = 8
"""Rows below which libraries multiply matrices by other kernels, which round differently."""


def _as_in_many(expert: nn.Module, x: Tensor, rows: int) -> Tensor:
    """An expert's result for ``x`` [n, H], bit for bit as among ``rows`` rows: equal experts are one dense layer."""
    missing = min(rows, _FEW) - len(x)
    result: Tensor = expert(torch.cat([x, x.new_zeros(missing, x.shape[1])]) if missing > 0 else x)
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
