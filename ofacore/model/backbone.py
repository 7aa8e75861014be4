"""The default backbone: an encoder-decoder transformer on megatron-core's parallel layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from ofacore.config.schema import ModelConfig
from ofacore.model.cache import Cache, SourceCache, stream_of
from ofacore.model.experts import ModalityRouter, Routing, TaskRouter, nowhere, sort_by_expert
from ofacore.model.incremental import Step, beams_of, blind_rows, layer_step, new_mask
from ofacore.model.initial import initialise
from ofacore.model.layers import Biases, Layer, Memory, Pass
from ofacore.model.positions import SCHEMES, OwnHeads, Place, PositionOptions, total_bias
from ofacore.model.presets import resolve
from ofacore.model.rows import Group, View, cross_groups, finish, one_position, plane_of, self_groups, slots_of
from ofacore.parallel import fsdp
from ofacore.parallel.groups import expert_size, layout, tensor_size
from ofacore.parallel.layers import whole_positions
from ofacore.parallel.norms import norm
from ofacore.parallel.regions import join_positions, split_positions
from ofacore.parallel.sharding import mark_by_position
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


class MegatronBackbone(nn.Module):
    """Encoder and decoder over streams of positions; see `ofacore.protocols.Backbone`.

    Attributes:
        balance: Balance losses of learned routers in the latest pass, one for each layer.
        attention: Cross-attention weights of the latest pass, layer -> one [rows, heads, L, K] for each group.
    """

    has_stages: ClassVar[bool] = True
    """`encode`, `decode` and `idle` take the layers of one pipeline stage."""

    def __init__(self, config: ModelConfig, context: BackboneContext) -> None:
        super().__init__()
        self.config, self.context, self.sizes = config, context, resolve(config)
        sizes = self.sizes
        options = PositionOptions(
            sizes, sizes.heads, config.max_positions, config.attn_scale_factor,
            config.share_attn_bias, config.entangle_positions, config.layernorm_position,
        )  # fmt: skip
        self.positions = {**SCHEMES, **context.schemes}[config.positions](options)
        self.encoder = self._stack(sizes.encoder_layers, False, config.encoder_drop_path)
        self.decoder = self._stack(sizes.decoder_layers, True, config.decoder_drop_path)
        final = config.norm == "pre"
        self.encoder_norm = norm(config.norm_type, sizes.hidden) if final else nn.Identity()
        self.decoder_norm = norm(config.norm_type, sizes.hidden) if final else nn.Identity()
        mark_by_position(self.encoder_norm)
        mark_by_position(self.decoder_norm)
        self.balance: list[Tensor] = []
        self.attention: dict[int, list[Tensor]] = {}
        initialise(self, "backbone", context.seed)

    @property
    def scheme(self) -> Any:
        """Positions, with biases for the heads of this process."""
        whole = tensor_size() == 1 or getattr(self.positions, "splits_heads", False)
        return self.positions if whole else OwnHeads(self.positions)

    def _stack(self, number: int, cross: bool, path_rate: float) -> nn.ModuleList:
        """Layers whose drop rate grows linearly from 0 to ``path_rate``."""
        rates = torch.linspace(0, path_rate, number).tolist()
        return nn.ModuleList(
            Layer(self.config, self.sizes, index, self.expert_names(), cross, rate) for index, rate in enumerate(rates)
        )

    def expert_names(self) -> tuple[str, ...]:
        """Names of the feed-forward experts; empty for dense layers."""
        numbered = tuple(str(number) for number in range(self.config.experts_number))
        by_kind = {"none": (), "modality": self.context.adapters, "task": self.context.tasks, "topk": numbered}
        return by_kind[self.config.experts]

    def encode(self, states: Tensor, layout: Layout, layers: range | None = None) -> Tensor:
        """Source states [N, H] -> hidden [N, H].

        ``layers``: only these; what comes before the first and after the last layer goes with them. Default: all.
        """
        self.balance = []
        plane = plane_of(layout, self.context.linear)
        run = self._pass("encoder", states, layout, plane)
        return self._through("encoder", states, layout, plane, run, layers)

    def decode(
        self, states: Tensor, layout: Layout, memory: Tensor | None, source: Layout | None, layers: range | None = None
    ) -> Tensor:
        """Target states [M, H] -> hidden [M, H], reading encoder output [N, H]; ``layers`` as in `encode`."""
        if source is None:
            self.balance = []
        plane = plane_of(layout, self.context.linear)
        run = self._pass("decoder", states, layout, plane)
        run.memory = self._memory(layout, plane, memory, source)
        run.attention_layers = self.context.attention_layers
        self.attention = run.attention
        return self._through("decoder", states, layout, plane, run, layers)

    def idle(self, place: Literal["encoder", "decoder"], layers: range | None = None) -> Tensor | None:
        """What `encode` or `decode` of these layers owe to other processes, where this one has no positions.

        Returns:
            0 with a gradient path through the exchange of positions between experts, or through layers that FSDP
            gathers; None where nothing is owed.
        """
        if layout().fsdp:
            one = one_position(self.context.adapters, self.context.tasks, next(self.parameters()).device)
            plane, x = plane_of(one, self.context.linear), self._nothing(1)
            return (self._through(place, x, one, plane, self._pass(place, x, one, plane), None) * 0).sum()
        if expert_size() == 1 or not self.expert_names():
            return None
        x, every = self._nothing(0), self.encoder if place == "encoder" else self.decoder
        routing = nowhere(len(self.expert_names()), x.device)
        for number in layers if layers is not None else range(len(every)):
            x = self._again_backward(every[number].ffn.idle, x, routing)
        return x.sum()

    def _nothing(self, positions: int) -> Tensor:
        like = next(self.parameters())
        return torch.zeros(positions, self.sizes.hidden, device=like.device, dtype=like.dtype, requires_grad=True)

    def _again_backward(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """Call a function; under activation checkpointing it is computed again in the backward pass, to its end."""
        if not (self.config.checkpoint_activations and torch.is_grad_enabled()):
            return function(*inputs)
        with set_checkpoint_early_stop(expert_size() == 1):
            return checkpoint(function, *inputs, use_reentrant=False)

    def _through(
        self, place: Literal["encoder", "decoder"], x: Tensor, layout: Layout, plane: Tensor, run: Pass,
        layers: range | None,
    ) -> Tensor:  # fmt: skip
        every = self.encoder if place == "encoder" else self.decoder
        last_norm = self.encoder_norm if place == "encoder" else self.decoder_norm
        chosen = layers if layers is not None else range(len(every))
        x = self._placed(place, x, layout, plane) if chosen.start == 0 else x
        positions = len(x)
        x = self._run([every[number] for number in chosen], split_positions(x), run)
        return join_positions(last_norm(x) if chosen.stop == len(every) else x, positions)

    def _placed(self, place: Place, states: Tensor, layout: Layout, plane: Tensor) -> Tensor:
        added = self.positions.states(place, layout.coordinates, plane)
        return states if added is None else states + added

    def _run(self, layers: Sequence[nn.Module], x: Tensor, run: Pass) -> Tensor:
        for layer in layers:
            x, balance = self._again_backward(layer, x, run, run.memory.states if run.memory else None)
            if balance is not None:
                self.balance.append(balance)
        return x

    def _pass(self, place: Place, states: Tensor, layout: Layout, plane: Tensor) -> Pass:
        groups = finish(self_groups(layout, plane, place == "encoder"), states.dtype)
        return Pass(
            slots_of(layout.rows, layout.positions), self._biases(place, groups),
            self.positions.rotation(layout.coordinates), split_positions(layout.sequence), layout.sequences,
            self._routing(layout),
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
            blind = split_positions(slots.put([part.to(memory.device) for part in each]))
        keys = slots_of(layout.memory_rows, len(memory), once=False)
        return Memory(memory, keys, self._biases("cross", groups), blind)

    def _biases(self, place: Place, groups: Sequence[Group]) -> Biases:
        scheme = self.scheme
        shared = [
            total_bias([group.additive, scheme.shared_bias(place, group.queries, group.keys)]) for group in groups
        ]

        def of_layer(layer: int) -> list[Tensor | None]:
            return [
                total_bias([part, scheme.bias(place, layer, group.queries, group.keys)])
                for part, group in zip(shared, groups, strict=True)
            ]

        return of_layer

    def _routing(self, layout: Layout) -> Routing | None:
        """Experts of all positions, where they do not depend on the states."""
        routers: dict[str, type[ModalityRouter] | type[TaskRouter]] = {"modality": ModalityRouter, "task": TaskRouter}
        if self.config.experts not in routers:
            return None
        names = self.expert_names()
        experts, _ = routers[self.config.experts]({"names": names})(layout, layout.sequence)
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
            with fsdp.gathered([layer]):
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
                cross = self.scheme.shared_bias("cross", queries, chosen)
        return Step(
            cache, self.scheme, queries, keys, total, mask, slot, self.positions.rotation(queries.coordinates),
            self._routing(stream_of(cache, states.shape[1], adapter)),
            self.scheme.shared_bias("decoder", queries, keys), cross,
            beams_of(cache.source, cache.sources) if cross is None else 0, blind_rows(cache),
        )  # fmt: skip

    def _cached(self, x: Tensor, cache: Cache, queries: View, step: Step) -> Tensor:
        added = self.positions.states("decoder", queries.coordinates, queries.plane)
        x = x if added is None else x + added
        with whole_positions(self.decoder), fsdp.gathered(list(self.decoder)):
            for layer in self.decoder:
                x = layer_step(layer, x, step)
        return self.decoder_norm(x)  # type: ignore[no-any-return]
