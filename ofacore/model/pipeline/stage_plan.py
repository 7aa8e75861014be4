"""Which layers the stages of a pipeline hold. Nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass

from ofacore.config.model_section import ModelConfig
from ofacore.config.sizes import Sizes, expert_sizes


@dataclass(frozen=True)
class StagePlan:
    """Which layers the stages hold."""

    encoder_layers: int
    decoder_layers: int
    ranges: tuple[range, ...]
    """Of each stage: its links of the chain of all encoder layers and then all decoder layers."""

    def stage_of(self, side: str, layer: int) -> int:
        """Stage of a layer of the encoder or the decoder."""
        link = layer + (self.encoder_layers if side == "decoder" else 0)
        return next(stage for stage, links in enumerate(self.ranges) if link in links)

    def stages_of(self, side: str) -> tuple[int, ...]:
        """Stages that hold layers of the encoder or the decoder; of a side without layers, the one in its place."""
        layers = self.encoder_layers if side == "encoder" else self.decoder_layers
        if layers:
            return tuple(range(self.stage_of(side, 0), self.stage_of(side, layers - 1) + 1))
        return (0,) if side == "encoder" else (self.last,)

    def layers(self, side: str, stage: int) -> range:
        """Layers of one side that a stage holds."""
        start, stop, own = 0, self.encoder_layers, self.ranges[stage]
        if side == "decoder":
            start, stop = stop, stop + self.decoder_layers
        found = range(max(own.start, start) - start, min(own.stop, stop) - start)
        return found if len(found) else range(0)

    @property
    def last(self) -> int:
        """Number of the last stage."""
        return len(self.ranges) - 1


def layer_costs(config: ModelConfig, sizes: Sizes) -> list[float]:
    """Multiplications of each layer for one position; scores of attention are left out."""
    width = sizes.ffn
    if config.experts != "none":
        width = config.experts_k * expert_sizes(config, sizes).ffn + config.experts_shared
    attention, ffn = 4.0 * sizes.hidden**2, 2.0 * sizes.hidden * width
    return [attention + ffn] * sizes.encoder_layers + [2 * attention + ffn] * sizes.decoder_layers
