"""Which feed-forward expert each position goes to: the core's routers, and routes from a router's answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ofacore.model.item_needs import Components
from ofacore.parallel.host_transfer import numbers_on
from ofacore.plugin import PluginError
from ofacore.plugin.blame import Blame, who
from ofacore.plugin.guard import built_by
from ofacore.protocols import Layout, Routes


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
    gates: Tensor | None = None
    """[N, k]: shares of a position's experts; None: one expert, which has all of it."""


def sort_by_expert(experts: Tensor, number: int, sizes: tuple[int, ...] | None = None) -> Routing:
    """Experts int64 [N, k] -> pairs sorted by expert; ``sizes``: pairs of each, where the host knows.

    Raises:
        ValueError: An expert is not one of ``number``.
    """
    flat = experts.flatten()
    if sizes is None:
        shifted = flat.clamp(min=-1) + 1
        below, *counts = torch.bincount(shifted, minlength=number + 1).tolist()
        if below or len(counts) > number:
            raise ValueError(f"gave experts from {int(flat.min())} to {int(flat.max())}")
        sizes = tuple(counts)
    order = torch.argsort(flat, stable=True)
    return Routing(order, torch.argsort(order), sizes)


def nowhere(number: int, device: torch.device) -> Routing:
    """No positions for so many experts."""
    none = torch.zeros(0, dtype=torch.int64, device=device)
    return Routing(none, none, (0,) * number)


Route = Routing | Layout
"""How the positions of a pass find their experts; a layout where each layer chooses by a router of its own."""


@dataclass(frozen=True)
class RouterChoice:
    """The router that a model was given."""

    owner: str
    """Whose it is, in words."""
    build: Callable[[Mapping[str, Any]], Any]
    """Its class."""
    options: Mapping[str, Any]
    """Its own."""

    @property
    def by_layer(self) -> bool:
        """Each layer has one, which chooses from the states of that layer."""
        return isinstance(self.build, type) and issubclass(self.build, nn.Module)

    @property
    def experts(self) -> str:
        """What the experts are: ``numbers``, ``adapters`` or ``tasks``."""
        return str(getattr(self.build, "experts", "numbers"))

    def made(self, names: Sequence[str], hidden: int, k: int) -> Any:
        """A router for experts of these names."""
        given = {
            "names": tuple(names),
            "number": len(names),
            "hidden": hidden,
            "k": min(k, len(names)),
        }
        with built_by(self.owner):
            return self.build({**self.options, **given})

    def routing(
        self,
        router: Any,
        layout: Layout,
        hidden: Tensor | None,
        number: int,
    ) -> tuple[Routing, Tensor | None]:
        """Where the positions of a layout go, and the router's loss.

        Args:
            router: Made by `made`.
            layout: N positions.
            hidden: States [N, H]; None where the router is no module.
            number: Of experts.

        Raises:
            ValueError: Its answer has another shape, or names an expert that does not exist.
        """
        with Blame(self.owner, "when it chose experts"):
            found = router(layout, hidden)
        positions = layout.positions if hidden is None else len(hidden)
        routes = self._checked(found, positions, number)
        try:
            routing = sort_by_expert(routes.experts, number, routes.counts)
        except ValueError as error:
            raise ValueError(f"{self.owner} {error}; they go from 0 to {number - 1}") from None
        routing.gates = routes.gates
        return routing, routes.loss

    def _checked(self, found: Any, positions: int, number: int) -> Routes:
        if not isinstance(found, tuple) or not 1 <= len(found) <= len(Routes._fields):
            raise ValueError(
                f"{self.owner} gave {type(found).__name__}; a router gives (experts, gates)"
            )
        routes = Routes(*found)
        experts, gates = routes.experts, routes.gates
        fits = experts.dim() == 2 and len(experts) == positions and 1 <= experts.shape[1] <= number
        shared = (
            experts.dim() == 2 and experts.shape[1] == 1
            if gates is None
            else gates.shape == experts.shape
        )
        if not (fits and shared and experts.dtype == torch.int64):
            dtype = str(experts.dtype).removeprefix("torch.")
            told = f"{dtype} experts {list(experts.shape)} and gates {None if gates is None else list(gates.shape)}"
            wanted = f"expected int64 [{positions}, k] and [{positions}, k], k at most {number}"
            raise ValueError(f"{self.owner} gave {told}; {wanted}")
        return routes


def router_of(name: str, registry: Components) -> RouterChoice | None:
    """The router of that name; None for ``none``.

    Raises:
        PluginError: It says of its experts what no model has.
    """
    if name == "none":
        return None
    build, declared = registry.load("router", name), registry.component("router", name).options
    found = RouterChoice(who(registry, "router", name), build, declared)
    if found.experts not in ("numbers", "adapters", "tasks"):
        raise PluginError(
            f"{found.owner}: experts = '{found.experts}'; it is numbers, adapters or tasks"
        )
    return found


class ModalityRouter:
    """The adapter that made a position is its expert (OFASys' modality experts)."""

    experts: ClassVar[str] = "adapters"

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.names: Sequence[str] = options["names"]

    def __call__(self, layout: Layout, hidden: Tensor | None) -> Routes:
        """One expert for each position."""
        counts = layout.facts.adapters if layout.facts else None
        return _fixed(
            self.names,
            layout.adapters,
            layout.adapter,
            counts,
        )


class TaskRouter:
    """The task of a position is its expert."""

    experts: ClassVar[str] = "tasks"

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.names: Sequence[str] = options["names"]

    def __call__(self, layout: Layout, hidden: Tensor | None) -> Routes:
        """One expert for each position."""
        counts = layout.facts.tasks if layout.facts else None
        return _fixed(self.names, layout.tasks, layout.task, counts)


def _fixed(
    names: Sequence[str], present: Sequence[str], index: Tensor, counts: Sequence[int] | None
) -> Routes:
    """``counts``: positions of each of ``present``; None: the host does not know."""
    table = numbers_on(
        [names.index(name) if name in names else -1 for name in present], index.device
    )
    experts = table[index].unsqueeze(1)
    if counts is None:
        homeless = bool((experts < 0).any())
    else:
        homeless = any(
            count and name not in names for name, count in zip(present, counts, strict=True)
        )
    if homeless:
        raise ValueError(
            f"positions of {sorted(set(present) - set(names))} have no expert; there are {list(names)}"
        )
    return Routes(experts, counts=_counts(names, present, counts))


def _counts(
    names: Sequence[str], present: Sequence[str], counts: Sequence[int] | None
) -> tuple[int, ...] | None:
    """Positions of each expert, from the number of each adapter's or task's; None where those are not known."""
    if counts is None:
        return None
    known = dict(zip(present, counts, strict=True))
    return tuple(known.get(name, 0) for name in names)


class TopKRouter(nn.Module):
    """A learned softmax over experts; the k largest share the position (Shazeer et al. 2017)."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.number, self.k = int(options["number"]), int(options["k"])
        self.weight = nn.Parameter(torch.zeros(self.number, int(options["hidden"])))

    def forward(self, layout: Layout, hidden: Tensor) -> Routes:
        """Experts, gates that add up to one if k > 1, and a loss of 1 for an even use of all (Fedus et al. 2021)."""
        probabilities = functional.linear(hidden.float(), self.weight.float()).softmax(-1)
        gates, experts = probabilities.topk(self.k, dim=-1)
        if self.k > 1:
            gates = gates / gates.sum(-1, keepdim=True)
        used = functional.one_hot(experts, self.number).float().mean((0, 1))
        return Routes(experts, gates, self.number * (used * probabilities.mean(0)).sum())
