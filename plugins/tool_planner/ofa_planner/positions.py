"""What position schemes cost: that of a workload, and the core's own."""

from __future__ import annotations

from ofacore.config.model_section import ModelConfig
from ofacore.config.sizes import Sizes
from ofacore.plugin import Registry
from ofacore.protocols import PositionsContext, PositionsCost


class NoCost(PositionsCost):
    """A scheme of which nothing is known."""

    def __init__(self, context: PositionsContext) -> None:
        pass


class RotaryCost(NoCost):
    """Rotation has no parameters."""

    rotates = True


def cost_of(config: ModelConfig, sizes: Sizes, registry: Registry) -> PositionsCost:
    """What the scheme of a configuration costs in a model of tokens alone.

    Raises:
        UnknownNameError: There is no such scheme.
    """
    name = config.positions
    declared = registry.component("positions", name).options
    context = PositionsContext(
        hidden=sizes.hidden,
        heads=sizes.heads,
        encoder_layers=sizes.encoder_layers,
        decoder_layers=sizes.decoder_layers,
        max_positions=config.max_positions,
        scale_factor=config.attn_scale_factor,
        adapters=("token",),
        linear=frozenset({"token"}),
        options={**declared, **config.positions_options},
    )
    known = name in registry.names("positions_cost")
    build = registry.load("positions_cost", name) if known else NoCost
    return build(context)  # type: ignore[no-any-return]
