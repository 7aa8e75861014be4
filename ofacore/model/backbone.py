"""The default backbone: an encoder-decoder transformer on megatron-core's parallel layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ofacore.config.schema import ModelConfig
from ofacore.model.cache import Cache, SourceCache
from ofacore.model.experts import ModalityRouter, Routing, TaskRouter, sort_by_expert
from ofacore.model.incremental import Step, beams_of, blind_rows, layer_step, new_mask
from ofacore.model.initial import initialise
from ofacore.model.layers import Biases, Layer, Memory, Pass
from ofacore.model.positions import SCHEMES, Place, PositionOptions, total_bias
from ofacore.model.presets import resolve
from ofacore.model.rows import Group, View, cross_groups, finish, plane_of, self_groups, slots_of
from ofacore.parallel.groups import tensor_size
from ofacore.parallel.norms import norm
from ofacore.protocols import Layout


@dataclass(frozen=True)
class BackboneContext:
    """What a backbone may depend on besides the configuration, in joining order."""

    adapters: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    linear: frozenset[str] = frozenset()
    """Adapters whose positions lie on a line, as tokens do."""
    attention_layers: frozenset[int] = frozenset()
    """Decoder layers whose cross-attention weights are kept, for criteria that need them."""
    schemes: dict[str, type[nn.Module]] = field(default_factory=dict)
    """Position schemes of plugins."""
    seed: int = 1
    routers: dict[str, Callable[[dict[str, Any]], Any]] = field(default_factory=dict)
    """Routers of plugins: name -> what builds one from ``names`` and ``number``, the experts."""


class MegatronBackbone(nn.Module):
    """Encoder and decoder over streams of positions; see `ofacore.protocols.Backbone`.

    Attributes:
        balance: Balance losses of learned routers in the latest pass, one for each layer.
        attention: Cross-attention weights of the latest pass, layer -> one [rows, heads, L, K] for each group.
    """

    def __init__(self, config: ModelConfig, context: BackboneContext) -> None:
        super().__init__()
        self.config, self.context, self.sizes = config, context, resolve(config)
        sizes = self.sizes
        options = PositionOptions(
            sizes, sizes.heads // tensor_size(), config.max_positions, config.attn_scale_factor,
            config.share_attn_bias, config.entangle_positions, config.layernorm_position,
        )  # fmt: skip
        self.positions = {**SCHEMES, **context.schemes}[config.positions](options)
        self.encoder = self._stack(sizes.encoder_layers, False, config.encoder_drop_path)
        self.decoder = self._stack(sizes.decoder_layers, True, config.decoder_drop_path)
        final = config.norm == "pre"
        self.encoder_norm = norm(config.norm_type, sizes.hidden) if final else nn.Identity()
        self.decoder_norm = norm(config.norm_type, sizes.hidden) if final else nn.Identity()
        self.balance: list[Tensor] = []
        self.attention: dict[int, list[Tensor]] = {}
        initialise(self, "backbone", context.seed)

    def _stack(self, number: int, cross: bool, path_rate: float) -> nn.ModuleList:
        """Layers whose drop rate grows linearly from 0 to ``path_rate``."""
        rates = torch.linspace(0, path_rate, number).tolist()
        return nn.ModuleList(
            Layer(self.config, self.sizes, index, self.expert_names(), cross, rate) for index, rate in enumerate(rates)
        )

    def expert_names(self) -> tuple[str, ...]:
        """Names of the feed-forward experts; empty for dense layers."""
        numbered = tuple(str(number) for number in range(self.config.experts_number))
        by_kind = {"none": (), "modality": self.context.adapters, "task": self.context.tasks}
        return by_kind.get(self.config.experts, numbered)

    def encode(self, states: Tensor, layout: Layout) -> Tensor:
        """Source states [N, H] -> hidden [N, H]."""
        self.balance = []
        plane = plane_of(layout, self.context.linear)
        run = self._pass("encoder", states, layout, plane)
        return self.encoder_norm(self._run(self.encoder, self._placed("encoder", states, layout, plane), run))  # type: ignore[no-any-return]

    def decode(self, states: Tensor, layout: Layout, memory: Tensor | None, source: Layout | None) -> Tensor:
        """Target states [M, H] -> hidden [M, H], reading encoder output [N, H]."""
        if source is None:
            self.balance = []
        plane = plane_of(layout, self.context.linear)
        run = self._pass("decoder", states, layout, plane)
        run.memory = self._memory(layout, plane, memory, source)
        run.attention_layers = self.context.attention_layers
        self.attention = run.attention
        return self.decoder_norm(self._run(self.decoder, self._placed("decoder", states, layout, plane), run))  # type: ignore[no-any-return]

    def _placed(self, place: Place, states: Tensor, layout: Layout, plane: Tensor) -> Tensor:
        added = self.positions.states(place, layout.coordinates, plane)
        return states if added is None else states + added

    def _run(self, layers: nn.ModuleList, x: Tensor, run: Pass) -> Tensor:
        for layer in layers:
            if self.config.checkpoint_activations and torch.is_grad_enabled():
                x, balance = checkpoint(layer, x, run, use_reentrant=False)
            else:
                x, balance = layer(x, run)
            if balance is not None:
                self.balance.append(balance)
        return x

    def _pass(self, place: Place, states: Tensor, layout: Layout, plane: Tensor) -> Pass:
        groups = finish(self_groups(layout, plane, place == "encoder"), states.dtype)
        return Pass(
            slots_of(layout.rows, layout.positions), self._biases(place, groups),
            self.positions.rotation(layout.coordinates), layout.sequence, layout.sequences, self._routing(layout),
        )  # fmt: skip

    def _memory(self, layout: Layout, plane: Tensor, memory: Tensor | None, source: Layout | None) -> Memory | None:
        if memory is None or source is None or layout.memory is None or not len(memory):
            return None
        if not any(rows.shape[1] for rows in layout.memory_rows):
            return None
        groups = finish(cross_groups(layout, plane, source, plane_of(source, self.context.linear)), memory.dtype)
        blind = None
        if any(group.blind is not None for group in groups):
            slots = slots_of(layout.rows, layout.positions)
            each = [
                group.blind if group.blind is not None else torch.zeros(*shape, 1, dtype=torch.bool)
                for group, shape in zip(groups, slots.shapes, strict=True)
            ]
            blind = slots.put([part.to(memory.device) for part in each])
        keys = slots_of(layout.memory_rows, len(memory), once=False)
        return Memory(memory, keys, self._biases("cross", groups), blind)

    def _biases(self, place: Place, groups: Sequence[Group]) -> Biases:
        shared = [
            total_bias([group.additive, self.positions.shared_bias(place, group.queries, group.keys)])
            for group in groups
        ]

        def of_layer(layer: int) -> list[Tensor | None]:
            return [
                total_bias([part, self.positions.bias(place, layer, group.queries, group.keys)])
                for part, group in zip(shared, groups, strict=True)
            ]

        return of_layer

    def _routing(self, layout: Layout) -> Routing | None:
        """Experts of all positions, where they do not depend on the states."""
        routers: dict[str, Callable[[dict[str, Any]], Any]] = {
            "modality": ModalityRouter,
            "task": TaskRouter,
            **self.context.routers,
        }
        if self.config.experts not in routers:
            return None
        names = self.expert_names()
        experts, _ = routers[self.config.experts]({"names": names, "number": len(names)})(layout, layout.sequence)
        if self.config.experts in self.context.routers:
            _check_experts(self.config.experts, experts, layout.positions, len(names))
        return sort_by_expert(experts, len(names))

    # ------------------------------------------------------------ incremental decoding

    def start_cache(
        self, rows: int, memory: Tensor | None = None, source: Layout | None = None, row_source: Tensor | None = None,
        task: Tensor | None = None, tasks: tuple[str, ...] = (), capacity: int = 64,
    ) -> Cache:  # fmt: skip
        """An empty cache for ``rows`` rows.

        Args:
            rows: Number of rows R.
            memory: Encoder output [N, H] of every source; None: nothing to read.
            source: Its layout; source s is its sequence s.
            row_source: int64 [R], the source that each row reads, -1 for none; default: row r reads source r.
            task: int64 [R], index into ``tasks``; needed for experts by task.
            tasks: Names.
            capacity: Positions to make room for; it grows on demand.
        """
        first = next(self.parameters())
        device, shape = first.device, (rows, self.sizes.heads // tensor_size(), capacity, self.sizes.head_size)
        layers = range(self.sizes.decoder_layers)
        cached = None
        if memory is not None and source is not None and len(memory):
            cached = self._source_cache(memory, source)
        if row_source is None:
            row_source = torch.arange(rows, device=device) if cached else torch.full((rows,), -1, device=device)
        return Cache(
            lengths=torch.zeros(rows, dtype=torch.int64, device=device),
            source=row_source, memory=cached,
            task=torch.zeros(rows, dtype=torch.int64, device=device) if task is None else task, tasks=tasks,
            keys=[torch.zeros(shape, dtype=first.dtype, device=device) for _ in layers],
            values=[torch.zeros(shape, dtype=first.dtype, device=device) for _ in layers],
            coordinates=torch.zeros(rows, capacity, 3, dtype=torch.int64, device=device),
            segment=torch.zeros(rows, capacity, dtype=torch.int64, device=device),
            plane=torch.zeros(rows, capacity, dtype=torch.bool, device=device),
        )  # fmt: skip

    def _source_cache(self, memory: Tensor, source: Layout) -> SourceCache:
        counts = torch.bincount(source.sequence, minlength=source.sequences)
        longest = int(counts.max())
        number = torch.arange(longest, device=memory.device)
        mask = number < counts[:, None]
        starts = counts.cumsum(0) - counts
        index = torch.where(mask, starts[:, None] + number, 0)
        plane = plane_of(source, self.context.linear)
        cache = SourceCache(
            mask=None if bool(mask.all()) else mask,
            view=View(source.coordinates[index], source.segment[index], plane[index]),
        )
        for layer in self.decoder:
            keys, values = layer.cross.project_memory(memory)
            cache.keys.append(keys[index].transpose(1, 2).contiguous())
            cache.values.append(values[index].transpose(1, 2).contiguous())
        return cache

    def extend(
        self, states: Tensor, coordinates: Tensor, cache: Cache, valid: Tensor | None = None, adapter: str = "",
        causal: bool = True, keep: bool = True,
    ) -> Tensor:  # fmt: skip
        """Decode new positions behind those of the cache.

        Args:
            states: Embedded positions [R, n, H].
            coordinates: int64 [R, n, 3].
            cache: What came before; updated in place.
            valid: bool [R, n], left-aligned: real positions; others leave no trace. None: all.
            adapter: What made the positions.
            causal: New positions see earlier ones only; otherwise all of the new segment.
            keep: Later positions see the new ones; otherwise they leave no trace.

        Returns:
            Hidden states [R, n, H].
        """
        rows, n = states.shape[:2]
        plane = torch.full((rows, n), adapter not in self.context.linear, device=states.device)
        mask, slot = new_mask(cache, valid, n, causal)
        total = cache.longest + n
        cache.grow(total)
        if not causal:
            cache.segments += 1
        queries = View(coordinates, torch.full((rows, n), cache.segments, device=states.device), plane)
        self._note(cache, queries, slot, total)
        x = self._cached(states, cache, queries, self._step(states, cache, queries, mask, slot, total, adapter))
        if keep:
            cache.advance(torch.full_like(cache.lengths, n) if valid is None else valid.sum(1))
        if not causal:
            cache.segments += 1
        return x

    def denoise(
        self, states: Tensor, coordinates: Tensor, cache: Cache, valid: Tensor | None = None, adapter: str = ""
    ) -> Tensor:
        """Hidden states [R, n, H] of a bidirectional segment that leaves no trace."""
        return self.extend(states, coordinates, cache, valid, adapter, causal=False, keep=False)

    def _note(self, cache: Cache, new: View, slot: Tensor | None, total: int) -> None:
        """Write coordinates and segments of new positions where their keys go."""
        for stored, values in (
            (cache.coordinates, new.coordinates), (cache.segment, new.segment), (cache.plane, new.plane)
        ):  # fmt: skip
            if slot is None:
                stored[:, cache.longest : total] = values
            else:
                where = slot if stored.dim() == 2 else slot.unsqueeze(-1).expand(-1, -1, 3)
                stored.scatter_(1, where, values)

    def _step(
        self, states: Tensor, cache: Cache, queries: View, mask: Tensor | None, slot: Tensor | None, total: int,
        adapter: str,
    ) -> Step:  # fmt: skip
        keys = cache.view(total)
        cross = None
        if cache.memory is not None and cache.memory.view is not None:
            row, view = cache.source.clamp(min=0), cache.memory.view
            if not self.positions.packs:
                chosen = View(view.coordinates[row], view.segment[row], view.plane[row])
                cross = self.positions.shared_bias("cross", queries, chosen)
        return Step(
            cache, self.positions, queries, keys, total, mask, slot, self.positions.rotation(queries.coordinates),
            self._routing(_stream(cache, states.shape[1], adapter, queries.coordinates)),
            self.positions.shared_bias("decoder", queries, keys), cross,
            beams_of(cache.source, cache.sources) if cross is None else 0, blind_rows(cache),
        )  # fmt: skip

    def _cached(self, x: Tensor, cache: Cache, queries: View, step: Step) -> Tensor:
        added = self.positions.states("decoder", queries.coordinates, queries.plane)
        x = x if added is None else x + added
        for layer in self.decoder:
            x = layer_step(layer, x, step)
        return self.decoder_norm(x)  # type: ignore[no-any-return]


def _check_experts(router: str, experts: Tensor, positions: int, number: int) -> None:
    """Make sure that a plugin's router gave one expert that exists for each position."""
    if experts.shape != (positions, 1) or bool(((experts < 0) | (experts >= number)).any()):
        shape = list(experts.shape)
        raise ValueError(
            f"router '{router}' gave {shape} experts from {int(experts.min())} to {int(experts.max())}; "
            f"a router of a plugin gives [{positions}, 1], from 0 to {number - 1}"
        )


def _stream(cache: Cache, n: int, adapter: str, coordinates: Tensor) -> Layout:
    """The new positions of all rows as a stream, for routers."""
    sequence = torch.arange(cache.rows, device=cache.task.device).repeat_interleave(n)
    zeros = torch.zeros_like(sequence)
    return Layout(
        sequence=sequence, segment=zeros, coordinates=coordinates.reshape(-1, coordinates.shape[-1]),
        causal=zeros, visible=zeros, adapter=zeros,
        adapters=(adapter,), task=cache.task.repeat_interleave(n), tasks=cache.tasks, slots=(), rows=(),
        sequences=cache.rows,
    )  # fmt: skip
