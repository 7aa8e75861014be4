"""Position schemes: what builds one, the core's own, and how queries and keys are rotated."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ofacore.config.model_section import ModelConfig
from ofacore.model.backbone.bias import own_bias
from ofacore.model.item_needs import Components
from ofacore.parallel.host_transfer import to_device
from ofacore.parallel.regions import own_share
from ofacore.plugin import PluginError
from ofacore.plugin.blame import who
from ofacore.plugin.guard import built_by
from ofacore.protocols import (
    AttentionPlace,
    Positions,
    PositionsContext,
    PositionView,
    RelativeBias,
)

BuildPositions = Callable[[PositionsContext], Positions]
_OPTIONAL = frozenset({"splits_heads", "most", "plain", "readers"})
"""Members that a scheme may leave out."""


def scheme_of(config: ModelConfig, registry: Components) -> BuildPositions:
    """What builds the scheme that the configuration names.

    Raises:
        PluginError: When it builds: what it builds lacks a member; names it.
    """
    name = config.positions
    build, declared = (
        registry.load("positions", name),
        registry.component("positions", name).options,
    )
    options = {**declared, **config.positions_options}
    owner = who(registry, "positions", name)

    def built(context: PositionsContext) -> Positions:
        with built_by(owner):
            scheme = build(replace(context, options=options))
        _check_members(scheme, owner)
        return scheme  # type: ignore[no-any-return]

    return built


def _check_members(scheme: Any, owner: str) -> None:
    if not isinstance(scheme, nn.Module):
        raise PluginError(
            f"{owner} is no torch.nn.Module but {type(scheme).__name__}; a position scheme is one"
        )
    missing = [name for name in members() if not hasattr(scheme, name) and name not in _OPTIONAL]
    if missing:
        listed = ", ".join(f"`{name}`" for name in missing)
        hint = "write it, or inherit from ofacore.protocols.Positions behind nn.Module"
        raise PluginError(f"{owner} lacks {listed}; {hint}")


def members() -> tuple[str, ...]:
    """Names of all members of a position scheme."""
    named = {**Positions.__annotations__, **dict(inspect.getmembers(Positions, inspect.isfunction))}
    return tuple(name for name in named if not name.startswith("_"))


class Rotary(nn.Module, Positions):
    """Rotates queries and keys by their coordinates (Su et al. 2021), on three axes at once.

    Pair j of a head's features belongs to axis j mod 3, so that each axis (t, y, x) has a band of slow and fast
    pairs. Text uses equal coordinates on all axes, which makes this the usual rotation. No tables, no bias;
    cross-attention is not rotated. The last feature of a head of odd width stays as it is.

    Options: ``base``, from which the frequencies fall.
    """

    splits_heads: ClassVar[bool] = True

    def __init__(self, context: PositionsContext) -> None:
        super().__init__()
        base = float(context.options["base"])
        pair = torch.arange(context.head_size // 2)
        each_axis = math.ceil(len(pair) / 3)
        self.axis = pair % 3
        self.frequency = base ** (-(pair // 3).double() / max(1, each_axis))

    def rotation(self, coordinates: Tensor) -> Tensor | None:
        """Coordinates [..., 3] -> complex64 [..., half of the head's width], to multiply pairs of features with."""
        if self.axis.device != coordinates.device:
            self.axis = to_device(self.axis, coordinates.device)
            self.frequency = to_device(self.frequency, coordinates.device)
        axis, frequency = self.axis, self.frequency
        angle = coordinates.index_select(-1, axis).double() * frequency
        return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """x [..., heads, head size], rotation complex [..., p]: the first p pairs of features; computed in fp32."""
    turned = 2 * rotation.shape[-1]
    if not turned:
        return x
    if turned < x.shape[-1]:
        return torch.cat([rotate(x[..., :turned].contiguous(), rotation), x[..., turned:]], -1)
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotation.unsqueeze(-2)).flatten(-2).type_as(x)


class OwnHeads:
    """A scheme whose features and biases are for all heads, cut down to those of this process."""

    def __init__(self, scheme: Positions) -> None:
        self.scheme = scheme

    def features(
        self, place: AttentionPlace, role: Literal["query", "key"], vectors: Tensor | None
    ) -> Tensor | None:
        """Features of own heads."""
        found = self.scheme.features(place, role, vectors)
        return None if found is None else own_share(found, -2)

    def relative(
        self, place: AttentionPlace, queries: PositionView, keys: PositionView
    ) -> RelativeBias | None:
        """Biases of own heads."""
        found = self.scheme.relative(place, queries, keys)
        return None if found is None else own_bias(found)
