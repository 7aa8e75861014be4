"""What tasks ask of a model, in the order in which they joined it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from ofacore.plugin import Component
from ofacore.protocols import Layout, Options, Side


@dataclass(frozen=True)
class Part:
    """A component and its options."""

    name: str
    options: Options = field(default_factory=dict)


@dataclass(frozen=True)
class ModelNeeds:
    """Components and names that a model is built for; growth appends."""

    adapters: tuple[Part, ...] = ()
    heads: tuple[Part, ...] = ()
    criteria: tuple[Part, ...] = ()
    tasks: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    attention_layers: tuple[int, ...] = ()
    """Decoder layers whose cross-attention weights some criterion needs."""
    separator: bool = True
    """Some target may hold several values in a run, which ``<sep>`` parts."""
    sides: Mapping[str, frozenset[Side]] = field(default_factory=dict)
    """Adapter -> sides that it serves; both where absent."""


class Components(Protocol):
    """Where implementations come from: the registry of plugins."""

    def load(self, kind: str, name: str) -> Any:
        """The class of a component."""

    def component(self, kind: str, name: str) -> Component:
        """What its manifest says of it."""


@dataclass
class Hidden:
    """Hidden states of one micro-batch."""

    source: Tensor | None
    """[N, H]."""
    target: Tensor | None
    """[M, H]."""
    balance: Tensor | None = None
    """Mean balance loss of learned routers; 1 where all experts are used evenly. ``batch_coupled``."""
    attention: Mapping[int, list[Tensor]] = field(default_factory=dict)
    """Decoder layer asked for -> cross-attention weights [rows, heads, L, K] of each attention group."""
    layouts: tuple[Layout, Layout] | None = None
    """Source and target, where attention was asked for."""
    idle: Tensor | None = None
    """0, to be added to the loss: through its gradient this process takes part in the others' communication."""


def total(parts: Iterable[Tensor | None]) -> Tensor | None:
    """Sum of the parts that are there."""
    found: Tensor | None = None
    for part in parts:
        if part is not None:
            found = part if found is None else found + part
    return found
