"""Transformer layers of the encoder and the decoder."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ofacore.config.model_section import ModelConfig
from ofacore.config.sizes import Sizes
from ofacore.model.backbone.attention import CrossAttention, SelfAttention
from ofacore.model.backbone.attention_rows import Slots
from ofacore.model.backbone.bias import Bias
from ofacore.model.backbone.dropout import add_dropped, drop_path, dropout, own_random_numbers
from ofacore.model.backbone.experts import Experts, ExpertsPlan, FeedForward
from ofacore.model.backbone.routing import Route
from ofacore.parallel.norms import norm
from ofacore.parallel.process_groups import sequence_parallel
from ofacore.parallel.sharding import mark_by_position
from ofacore.protocols import AttentionPlace

Biases = Callable[[int], list[Bias]]
"""Layer -> what is added to the scores of each attention group."""


@dataclass
class SourceMemory:
    """What cross-attention reads."""

    states: Tensor
    slots: Slots
    biases: Biases
    blind: Tensor | None
    """bool [M, 1]: positions of this process whose sequence reads nothing."""
    query: Tensor | None = None
    """[M, h, w]: the position scheme's features of the target's positions as queries; None: it has none."""
    key: Tensor | None = None
    """[N, h, w]: those of the source's positions as keys."""


@dataclass
class LayerPass:
    """What all layers of one side share in one forward pass."""

    slots: Slots
    biases: Biases
    rotation: Tensor | None
    sequence: Tensor
    """int64 [N]: sequence of each position of this process."""
    sequences: int
    routing: Route | None = None
    query: Tensor | None = None
    """[N, h, w]: the position scheme's features of all positions as queries; None: it has none."""
    key: Tensor | None = None
    """As keys."""
    vectors: Tensor | None = None
    """[N, H]: what these were made from."""
    memory: SourceMemory | None = None
    attention_layers: frozenset[int] = frozenset()
    attention: dict[int, list[Tensor]] = field(default_factory=dict)
    """Layer -> cross-attention weights of each group, for the layers asked for."""


class TransformerLayer(nn.Module):
    """Self-attention, cross-attention (decoder only), feed-forward, each with a residual connection.

    Args:
        config: Norm placement, scale options, dropout.
        sizes: Widths.
        index: Number of the layer on its side.
        experts: Its feed-forward experts; None for one dense network.
        cross: Whether it reads the encoder.
        path_rate: Probability of leaving out a branch.
        plain: Places of attention that the position scheme wants without scale options.
    """

    def __init__(
        self,
        config: ModelConfig,
        sizes: Sizes,
        index: int,
        experts: ExpertsPlan | None,
        cross: bool,
        path_rate: float,
        plain: Collection[AttentionPlace] = (),
    ) -> None:
        super().__init__()
        self.index, self.path_rate, self.rate = index, path_rate, config.dropout
        self.pre = config.norm == "pre"
        self.attention = SelfAttention(
            config, sizes, plain=("decoder" if cross else "encoder") in plain
        )
        self.attention_norm = norm(config.norm_type, sizes.hidden)
        self.attention_scale = norm(config.norm_type, sizes.hidden) if config.scale_attn else None
        self.cross = CrossAttention(config, sizes, "cross" in plain) if cross else None
        self.cross_norm = norm(config.norm_type, sizes.hidden) if cross else None
        self.cross_scale = (
            norm(config.norm_type, sizes.hidden) if cross and config.scale_attn else None
        )
        self.ffn = Experts(config, sizes, experts) if experts else FeedForward(config, sizes)
        self.ffn_norm = norm(config.norm_type, sizes.hidden)
        self.residual_scale = (
            nn.Parameter(torch.ones(sizes.hidden)) if config.scale_resids else None
        )
        for part in (
            self.attention_norm,
            self.attention_scale,
            self.cross_norm,
            self.cross_scale,
            self.ffn_norm,
            self.residual_scale,
        ):
            mark_by_position(part)

    def forward(
        self, x: Tensor, run: LayerPass, memory: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """States [N, H] -> states [N, H], balance loss of a learned router.

        ``memory``: the states of ``run.memory``, which wrappers of the layer must see among its inputs.
        """
        features = run.query, run.key
        inner = self._before(x, self.attention_norm)
        branch = self.attention(inner, run.slots, run.rotation, run.biases(self.index), features)
        x = self._after(x, _scaled(branch, self.attention_scale), self.attention_norm, run)
        if self.cross is not None:
            x = self._read(x, run, memory)
        return self._feed(x, run)

    def _read(self, x: Tensor, run: LayerPass, states: Tensor | None) -> Tensor:
        """Cross-attention; positions that read nothing keep their states."""
        assert self.cross is not None and self.cross_norm is not None
        memory = run.memory
        if memory is None or states is None:
            return x if self.pre else self.cross_norm(x)  # type: ignore[no-any-return]
        weights = (
            run.attention.setdefault(self.index, []) if self.index in run.attention_layers else None
        )
        branch = self.cross(
            self._before(x, self.cross_norm),
            run.slots,
            states,
            memory.slots,
            memory.biases(self.index),
            (memory.query, memory.key),
            weights,
        )
        branch = _scaled(branch, self.cross_scale)
        if memory.blind is not None:
            branch = branch.masked_fill(memory.blind, 0.0)
        return self._after(x, branch, self.cross_norm, run)

    def _feed(self, x: Tensor, run: LayerPass) -> tuple[Tensor, Tensor | None]:
        inner, balance = self._before(x, self.ffn_norm), None
        if isinstance(self.ffn, Experts):
            positions = run.slots.positions if sequence_parallel() else None
            branch, balance = self.ffn(inner, run.routing, positions)
        else:
            branch = self.ffn(inner)
        residual = x if self.residual_scale is None else x * self.residual_scale
        return self._after(residual, branch, self.ffn_norm, run), balance

    def _before(self, x: Tensor, layer_norm: nn.Module) -> Tensor:
        return layer_norm(x) if self.pre else x  # type: ignore[no-any-return]

    def _after(self, x: Tensor, branch: Tensor, layer_norm: nn.Module, run: LayerPass) -> Tensor:
        by_process = sequence_parallel() and self.training and self.rate > 0.0
        if self.path_rate and self.training:
            with own_random_numbers(by_process):
                dropped = dropout(branch, self.rate, True)
            x = x + drop_path(dropped, run.sequence, run.sequences, self.path_rate, True)
        else:
            with own_random_numbers(by_process):
                x = add_dropped(x, branch, self.rate, self.training)
        return x if self.pre else layer_norm(x)  # type: ignore[no-any-return]


def _scaled(branch: Tensor, layer_norm: nn.Module | None) -> Tensor:
    return branch if layer_norm is None else layer_norm(branch)  # type: ignore[no-any-return]
