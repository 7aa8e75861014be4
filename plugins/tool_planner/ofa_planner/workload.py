"""What is to be trained: the model, and the samples of a step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from ofa_planner.positions import cost_of
from ofacore.config.model_section import ModelConfig
from ofacore.config.sizes import Sizes, expert_sizes, resolve, with_preset_options
from ofacore.plugin import Registry
from ofacore.protocols import PositionsCost

Method = Literal["muon", "adamw", "sgd"]


@dataclass(frozen=True, eq=False)
class Workload:
    """A model on one text-like block of tokens, and steps of equally long samples."""

    config: ModelConfig
    vocabulary: int = 50_000
    """Tokens, core tokens included."""
    source: int = 512
    """Positions of a sample's source."""
    target: int = 128
    """Positions of a sample's target, all of which carry loss."""
    samples: int = 1024
    """Samples in a step, over all replicas."""
    bf16: bool = True
    """Weights in bf16 with fp32 masters; otherwise all in fp32."""
    method: Method = "muon"
    """Optimiser: muon, adamw or sgd without momentum."""
    registry: Registry | None = None
    """Whose position scheme it is; None: everything installed."""

    @cached_property
    def model(self) -> ModelConfig:
        """The configuration with the options of its preset."""
        return with_preset_options(self.config)

    @cached_property
    def sizes(self) -> Sizes:
        """Widths and depths."""
        return resolve(self.config)

    @cached_property
    def scheme(self) -> PositionsCost:
        """What the position scheme costs."""
        return cost_of(self.model, self.sizes, self.registry or Registry.discover())

    @property
    def width(self) -> int:
        """Bytes of a weight, and of a number that layers exchange."""
        return 2 if self.bf16 else 4

    @property
    def experts(self) -> int:
        """Learned experts in each layer; 0 for dense layers."""
        return self.config.experts_number if self.config.experts == "topk" else 0

    @property
    def copies(self) -> int:
        """Experts that a position goes through; 1 for dense layers."""
        return min(self.config.experts_k, self.experts) if self.experts else 1

    @property
    def ffn_widths(self) -> tuple[int, ...]:
        """Widths of the feed-forward networks that a position goes through in each layer."""
        if not self.experts:
            return (self.sizes.ffn,)
        shared = (self.config.experts_shared,) if self.config.experts_shared else ()
        return (*(self.expert_ffn for _ in range(self.copies)), *shared)

    @property
    def expert_ffn(self) -> int:
        """Width of each expert."""
        return expert_sizes(self.config, self.sizes).ffn

    @property
    def positions(self) -> int:
        """Positions of a sample, source and target."""
        return self.source + self.target
