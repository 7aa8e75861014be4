"""The default backbone: an encoder-decoder transformer on megatron-core's parallel layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from ofacore.model.backbone.attention_rows import (
    Group,
    Slots,
    Stream,
    cross_groups,
    finish,
    one_position,
    self_groups,
    slots_of,
)
from ofacore.model.backbone.bias import Bias, bias_of
from ofacore.model.backbone.cached_decoder import CachedDecoder
from ofacore.model.backbone.layers import Biases, LayerPass, SourceMemory
from ofacore.model.backbone.routing import nowhere
from ofacore.parallel.process_groups import expert_size, layout
from ofacore.parallel.regions import join_positions, split_positions
from ofacore.protocols import AttentionPlace, Layout, Side, Stack

_STACKS: Mapping[str, Stack] = {"encoder": "encoder", "decoder": "decoder"}
_NORMS: Mapping[str, Stack] = {"encoder_norm": "encoder", "decoder_norm": "decoder"}


class MegatronBackbone(CachedDecoder):
    """Encoder and decoder over streams of positions; see `ofacore.protocols.Backbone`.

    Attributes:
        balance: Balance losses of learned routers in the latest pass, one for each layer.
        attention: Cross-attention weights of the latest pass, layer -> one [rows, heads, L, K] for each group.
    """

    @property
    def most(self) -> int | None:
        """Positions in a run that the position scheme tells apart; None: any number."""
        return getattr(self.positions, "most", None)

    def units(self) -> list[nn.Module]:
        """Its layers."""
        return [*self.encoder, *self.decoder]

    def readers(self, name: str) -> Iterable[tuple[Stack, int | None]] | None:
        """See `ofacore.protocols.StagedBackbone`: of layers, last norms, and what the position scheme tells."""
        part, _, rest = name.partition(".")
        if part in _STACKS:
            return [(_STACKS[part], int(rest.partition(".")[0]))]
        if part in _NORMS:
            stack = _NORMS[part]
            layers = len(getattr(self, stack))
            last = layers - 1 if layers else None
            return [(stack, last)]
        known = getattr(self.positions, "readers", None)
        return known(rest) if part == "positions" and known is not None else None

    def side_of(self, name: str) -> Side | None:
        """See `ofacore.protocols.TaskedBackbone`; experts read positions sorted by expert."""
        part = name.partition(".")[0]
        if part not in _STACKS or ".ffn.each." in name:
            return None
        reads_source = part == "encoder" or name.endswith(".cross.key_value")
        return "source" if reads_source else "target"

    def encode(self, states: Tensor, layout: Layout, layers: range | None = None) -> Tensor:
        """Source states [N, H] -> hidden [N, H].

        ``layers``: only these; what comes before the first and after the last layer goes with them. Default: all.
        """
        self.balance = []
        run = self._pass("encoder", states, layout, self._stream(layout))
        return self._through("encoder", states, run, layers)

    def decode(
        self,
        states: Tensor,
        layout: Layout,
        memory: Tensor | None,
        source: Layout | None,
        layers: range | None = None,
    ) -> Tensor:
        """Target states [M, H] -> hidden [M, H], reading encoder output [N, H]; ``layers`` as in `encode`."""
        if source is None:
            self.balance = []
        stream = self._stream(layout)
        run = self._pass("decoder", states, layout, stream)
        run.memory = self._memory(layout, stream, memory, source, run.vectors)
        run.attention_layers = self.context.attention_layers
        self.attention = run.attention
        return self._through("decoder", states, run, layers)

    def idle(self, stack: Stack, layers: range | None = None) -> Tensor | None:
        """What `encode` or `decode` of these layers owe to other processes, where this one has no positions.

        Returns:
            0 with a gradient path through the exchange of positions between experts, or through layers that FSDP
            gathers; None where nothing is owed.
        """
        if layout().fsdp:
            one, x = (
                one_position(self.context.adapters, self.context.tasks, self._device()),
                self._nothing(1),
            )
            return (
                self._through(stack, x, self._pass(stack, x, one, self._stream(one)), None) * 0
            ).sum()
        if expert_size() == 1 or not self.expert_names():
            return None
        x, every = self._nothing(0), self.encoder if stack == "encoder" else self.decoder
        routing = nowhere(len(self.expert_names()), x.device)
        for number in layers if layers is not None else range(len(every)):
            x = self._again_backward(every[number].ffn.idle, x, routing)
        return x.sum()

    def _nothing(self, positions: int) -> Tensor:
        like = next(self.parameters())
        return torch.zeros(
            positions, self.sizes.hidden, device=like.device, dtype=like.dtype, requires_grad=True
        )

    def _again_backward(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """Call a function; under activation checkpointing it is computed again in the backward pass, to its end."""
        if not (self.config.checkpoint_activations and torch.is_grad_enabled()):
            return function(*inputs)
        with set_checkpoint_early_stop(expert_size() == 1):
            return checkpoint(function, *inputs, use_reentrant=False)

    def _through(self, stack: Stack, x: Tensor, run: LayerPass, layers: range | None) -> Tensor:
        every = self.encoder if stack == "encoder" else self.decoder
        last_norm = self.encoder_norm if stack == "encoder" else self.decoder_norm
        chosen, positions = layers if layers is not None else range(len(every)), len(x)
        x = self._run([every[number] for number in chosen], split_positions(x), run)
        normed = last_norm(x) if chosen.stop == len(every) else x
        return join_positions(normed, positions)

    def content_positions(self, side: Side, coordinates: Tensor, adapter: str) -> Tensor | None:
        """What schemes that mix positions with content add to embeddings before their norm: [n, H], or None."""
        stack: Stack = "encoder" if side == "source" else "decoder"
        return self.positions.states(
            stack,
            coordinates,
            self._kind(adapter, coordinates),
        )

    def _run(self, layers: Sequence[nn.Module], x: Tensor, run: LayerPass) -> Tensor:
        for layer in layers:
            memory = run.memory.states if run.memory else None
            x, balance = self._again_backward(layer, x, run, memory)
            if balance is not None:
                self.balance.append(balance)
        return x

    def _pass(self, stack: Stack, states: Tensor, layout: Layout, stream: Stream) -> LayerPass:
        groups = finish(self_groups(layout, stream, stack == "encoder"), states.dtype)
        vectors = self.positions.vectors(stack, layout.coordinates, stream.kind)
        return LayerPass(
            _slots(layout),
            self._biases(stack, groups),
            self.positions.rotation(layout.coordinates),
            split_positions(layout.sequence),
            layout.sequences,
            self._routing(layout),
            self.scheme.features(stack, "query", vectors),
            self.scheme.features(stack, "key", vectors),
            vectors,
        )

    def _memory(
        self,
        layout: Layout,
        stream: Stream,
        memory: Tensor | None,
        source: Layout | None,
        vectors: Tensor | None,
    ) -> SourceMemory | None:
        if memory is None or source is None or layout.memory is None or not len(memory):
            return None
        if not any(rows.shape[1] for rows in layout.memory_rows):
            return None
        other = self._stream(source)
        groups = finish(cross_groups(layout, stream, source, other), memory.dtype)
        blind = None
        if any(group.blind is not None for group in groups):
            slots = _slots(layout)
            each = [
                group.blind
                if group.blind is not None
                else memory.new_zeros(*shape, 1, dtype=torch.bool)
                for group, shape in zip(groups, slots.shapes, strict=True)
            ]
            blind = split_positions(slots.put(each))
        read = self.positions.vectors("encoder", source.coordinates, other.kind)
        return SourceMemory(
            memory,
            _memory_slots(layout, len(memory)),
            self._biases("cross", groups),
            blind,
            self.scheme.features("cross", "query", vectors),
            self.scheme.features("cross", "key", read),
        )

    def _biases(self, place: AttentionPlace, groups: Sequence[Group]) -> Biases:
        relative = [self.scheme.relative(place, group.queries, group.keys) for group in groups]

        def of_layer(layer: int) -> list[Bias]:
            return [
                bias_of(own, layer, group.additive)
                for own, group in zip(relative, groups, strict=True)
            ]

        return of_layer


def _slots(layout: Layout) -> Slots:
    places = layout.facts.places if layout.facts else None
    return slots_of(layout.rows, layout.positions, places=places)


def _memory_slots(layout: Layout, positions: int) -> Slots:
    places = layout.facts.memory_places if layout.facts else None
    return slots_of(layout.memory_rows, positions, once=False, places=places)
