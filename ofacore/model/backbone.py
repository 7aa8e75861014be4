"""The default backbone: an encoder-decoder transformer on megatron-core's parallel layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from ofacore.config.schema import ModelConfig
from ofacore.model.attention import joined
from ofacore.model.bias import Bias
from ofacore.model.cache import Cache, SourceCache, new_positions
from ofacore.model.experts import ModalityRouter, Routing, TaskRouter, nowhere, sort_by_expert
from ofacore.model.incremental import Step, beams_of, blind_rows, layer_step, new_mask
from ofacore.model.initial import initialise
from ofacore.model.layers import Biases, Layer, Memory, Pass
from ofacore.model.positions import OwnHeads, Place, PositionOptions, Rotary, Scheme, Stack
from ofacore.model.presets import resolve
from ofacore.model.rows import Group, Stream, View, cross_groups, finish, one_position, self_groups, slots_of, stream_of
from ofacore.model.untied import Untied
from ofacore.parallel import fsdp
from ofacore.parallel.groups import expert_size, layout, tensor_size
from ofacore.parallel.layers import whole_positions
from ofacore.parallel.norms import norm
from ofacore.parallel.regions import join_positions, split_positions
from ofacore.parallel.sharding import mark_by_position
from ofacore.protocols import Layout, PositionGrid, Side

_SCHEMES: dict[str, type[nn.Module]] = {"rotary": Rotary, "untied": Untied}


@dataclass(frozen=True)
class BackboneContext:
    """What a backbone may depend on besides the configuration, in joining order."""

    adapters: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    linear: frozenset[str] = frozenset()
    """Adapters whose positions lie on a line, as tokens do."""
    grids: Mapping[str, PositionGrid] = field(default_factory=dict)
    """Adapters that say where their cells stand."""
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

    has_stages: ClassVar[bool] = True
    """`encode`, `decode` and `idle` take the layers of one pipeline stage."""

    def __init__(self, config: ModelConfig, context: BackboneContext) -> None:
        super().__init__()
        self.config, self.context, self.sizes = config, context, resolve(config)
        sizes = self.sizes
        options = PositionOptions(
            sizes, sizes.heads, config.max_positions, config.attn_scale_factor,
            config.share_attn_bias, config.entangle_positions, config.layernorm_position, config.attention_bias,
            config.position_buckets, context.adapters, context.linear, context.grids,
        )  # fmt: skip
        self.positions: Scheme = {**_SCHEMES, **context.schemes}[config.positions](options)
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
    def scheme(self) -> Scheme | OwnHeads:
        """Positions, with features and biases for the heads of this process."""
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
        by_kind = {"none": (), "modality": self.context.adapters, "task": self.context.tasks}
        return by_kind.get(self.config.experts, numbered)

    def encode(self, states: Tensor, layout: Layout, layers: range | None = None) -> Tensor:
        """Source states [N, H] -> hidden [N, H].

        ``layers``: only these; what comes before the first and after the last layer goes with them. Default: all.
        """
        self.balance = []
        run = self._pass("encoder", states, layout, self._stream(layout))
        return self._through("encoder", states, run, layers)

    def decode(
        self, states: Tensor, layout: Layout, memory: Tensor | None, source: Layout | None, layers: range | None = None
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
            one, x = one_position(self.context.adapters, self.context.tasks, self._device()), self._nothing(1)
            return (self._through(stack, x, self._pass(stack, x, one, self._stream(one)), None) * 0).sum()
        if expert_size() == 1 or not self.expert_names():
            return None
        x, every = self._nothing(0), self.encoder if stack == "encoder" else self.decoder
        routing = nowhere(len(self.expert_names()), x.device)
        for number in layers if layers is not None else range(len(every)):
            x = self._again_backward(every[number].ffn.idle, x, routing)
        return x.sum()

    def _device(self) -> torch.device:
        return next(self.parameters()).device

    def _nothing(self, positions: int) -> Tensor:
        like = next(self.parameters())
        return torch.zeros(positions, self.sizes.hidden, device=like.device, dtype=like.dtype, requires_grad=True)

    def _again_backward(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """Call a function; under activation checkpointing it is computed again in the backward pass, to its end."""
        if not (self.config.checkpoint_activations and torch.is_grad_enabled()):
            return function(*inputs)
        with set_checkpoint_early_stop(expert_size() == 1):
            return checkpoint(function, *inputs, use_reentrant=False)

    def _through(self, stack: Stack, x: Tensor, run: Pass, layers: range | None) -> Tensor:
        every = self.encoder if stack == "encoder" else self.decoder
        last_norm = self.encoder_norm if stack == "encoder" else self.decoder_norm
        chosen, positions = layers if layers is not None else range(len(every)), len(x)
        x = self._run([every[number] for number in chosen], split_positions(x), run)
        return join_positions(last_norm(x) if chosen.stop == len(every) else x, positions)

    def content_positions(self, side: Side, coordinates: Tensor, adapter: str) -> Tensor | None:
        """What schemes that mix positions with content add to embeddings before their norm: [n, H], or None."""
        return self.positions.states(
            "encoder" if side == "source" else "decoder", coordinates, self._kind(adapter, coordinates)
        )

    def _kind(self, adapter: str, coordinates: Tensor) -> Tensor:
        number = self.context.adapters.index(adapter) if adapter in self.context.adapters else -1
        return torch.full(coordinates.shape[:-1], number, device=coordinates.device)

    def _stream(self, layout: Layout) -> Stream:
        return stream_of(layout, self.context.adapters, self.context.linear)

    def _run(self, layers: Sequence[nn.Module], x: Tensor, run: Pass) -> Tensor:
        for layer in layers:
            x, balance = self._again_backward(layer, x, run, run.memory.states if run.memory else None)
            if balance is not None:
                self.balance.append(balance)
        return x

    def _pass(self, stack: Stack, states: Tensor, layout: Layout, stream: Stream) -> Pass:
        groups = finish(self_groups(layout, stream, stack == "encoder"), states.dtype)
        vectors = self.positions.vectors(stack, layout.coordinates, stream.kind)
        return Pass(
            slots_of(layout.rows, layout.positions), self._biases(stack, groups),
            self.positions.rotation(layout.coordinates), split_positions(layout.sequence), layout.sequences,
            self._routing(layout), self.scheme.features(stack, "query", vectors),
            self.scheme.features(stack, "key", vectors), vectors,
        )  # fmt: skip

    def _memory(
        self, layout: Layout, stream: Stream, memory: Tensor | None, source: Layout | None, vectors: Tensor | None
    ) -> Memory | None:
        if memory is None or source is None or layout.memory is None or not len(memory):
            return None
        if not any(rows.shape[1] for rows in layout.memory_rows):
            return None
        other = self._stream(source)
        groups = finish(cross_groups(layout, stream, source, other), memory.dtype)
        blind = None
        if any(group.blind is not None for group in groups):
            slots = slots_of(layout.rows, layout.positions)
            each = [
                group.blind if group.blind is not None else torch.zeros(*shape, 1, dtype=torch.bool)
                for group, shape in zip(groups, slots.shapes, strict=True)
            ]
            blind = split_positions(slots.put([part.to(memory.device) for part in each]))
        read = self.positions.vectors("encoder", source.coordinates, other.kind)
        return Memory(
            memory, slots_of(layout.memory_rows, len(memory), once=False), self._biases("cross", groups), blind,
            self.scheme.features("cross", "query", vectors), self.scheme.features("cross", "key", read),
        )  # fmt: skip

    def _biases(self, place: Place, groups: Sequence[Group]) -> Biases:
        relative = [self.scheme.relative(place, group.queries, group.keys) for group in groups]

        def of_layer(layer: int) -> list[Bias]:
            return [
                Bias(group.additive) if own is None else own.bias(layer, group.additive)
                for own, group in zip(relative, groups, strict=True)
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
        wide = (*shape[:-1], self.sizes.head_size + self.positions.width)
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
            keys=[torch.zeros(wide, dtype=first.dtype, device=device) for _ in layers],
            values=[torch.zeros(shape, dtype=first.dtype, device=device) for _ in layers],
            coordinates=torch.zeros(rows, capacity, 3, dtype=torch.int64, device=device),
            segment=torch.zeros(rows, capacity, dtype=torch.int64, device=device),
            kind=torch.zeros(rows, capacity, dtype=torch.int64, device=device),
        )  # fmt: skip

    def _source_cache(self, memory: Tensor, source: Layout) -> SourceCache:
        counts = torch.bincount(source.sequence, minlength=source.sequences)
        longest = int(counts.max())
        number = torch.arange(longest, device=memory.device)
        mask = number < counts[:, None]
        starts = counts.cumsum(0) - counts
        index = torch.where(mask, starts[:, None] + number, 0)
        vectors = self.positions.vectors("encoder", source.coordinates, self._stream(source).kind)
        features = self.positions.features("cross", "key", vectors)
        cache = SourceCache(mask=None if bool(mask.all()) else mask)
        for layer in self.decoder:
            with fsdp.gathered([layer]):
                keys, values = layer.cross.project_memory(memory)
            keys = joined(keys, features)
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
        mask, slot = new_mask(cache, valid, n, causal)
        total = cache.longest + n
        cache.grow(total)
        if not causal:
            cache.segments += 1
        self._note(cache, coordinates, self._kind(adapter, coordinates), slot, total)
        x = self._cached(states, self._step(states, cache, coordinates, mask, slot, total, adapter))
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

    def _note(self, cache: Cache, coordinates: Tensor, kind: Tensor, slot: Tensor | None, total: int) -> None:
        """Write coordinates, segments and kinds of new positions where their keys go."""
        for stored, values in (
            (cache.coordinates, coordinates), (cache.segment, torch.full_like(kind, cache.segments)), (cache.kind, kind)
        ):  # fmt: skip
            if slot is None:
                stored[:, cache.longest : total] = values
            else:
                where = slot if stored.dim() == 2 else slot.unsqueeze(-1).expand(-1, -1, 3)
                stored.scatter_(1, where, values)

    def _step(
        self, states: Tensor, cache: Cache, coordinates: Tensor, mask: Tensor | None, slot: Tensor | None, total: int,
        adapter: str,
    ) -> Step:  # fmt: skip
        scheme, n = self.scheme, states.shape[1]
        linear = torch.tensor([name in self.context.linear for name in self.context.adapters] or [False])
        keys = cache.view(total, linear.to(states.device))
        where = torch.arange(total - n, total, device=states.device).expand(len(states), -1) if slot is None else slot
        queries = View(coordinates, keys.run.gather(1, where), keys.kind.gather(1, where))
        vectors = self.positions.vectors("decoder", coordinates.flatten(0, 1), queries.kind.flatten())
        vectors = None if vectors is None else vectors.unflatten(0, (-1, n))
        return Step(
            cache, scheme.relative("decoder", queries, keys), scheme.features("decoder", "query", vectors),
            scheme.features("decoder", "key", vectors), scheme.features("cross", "query", vectors), total, mask, slot,
            self.positions.rotation(coordinates), self._routing(new_positions(cache, n, adapter, coordinates)),
            beams_of(cache.source, cache.sources), blind_rows(cache),
        )  # fmt: skip

    def _cached(self, x: Tensor, step: Step) -> Tensor:
        with whole_positions(self.decoder), fsdp.gathered(list(self.decoder)):
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
