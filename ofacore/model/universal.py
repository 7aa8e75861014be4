"""The universal model: adapters, backbone, heads and criteria, assembled from what tasks need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from ofacore.batching.transfer import batch_on
from ofacore.config.model_section import ModelConfig
from ofacore.config.sizes import with_preset_options
from ofacore.ground.artifacts import Artifact
from ofacore.ground.errors import UserError
from ofacore.ground.excerpts import listing
from ofacore.ground.vocabulary import SEP, Vocabulary
from ofacore.model import building as assembly
from ofacore.model.backbone.abilities import restarts, sizes_of
from ofacore.model.backbone.attention_items import item_attention, layers_of
from ofacore.model.backbone.attention_rows import is_range, permute
from ofacore.model.backbone.dropout import dropout
from ofacore.model.checked_loss import checked_loss
from ofacore.model.item_needs import Components, Hidden, ModelNeeds, total
from ofacore.model.not_finite import source_of_not_finite
from ofacore.model.pipeline.stages import Stage
from ofacore.model.tokens.embedding import TokenEmbedding
from ofacore.model.weights.initial import seeded
from ofacore.model.weights.lora import add_low_rank
from ofacore.model.weights.named import (
    HeldWeights,
    freeze,
    missing_and_unknown,
    names_everywhere,
    stored,
    take_over,
    whole_state,
)
from ofacore.model.weights.prefix import add_prefixes
from ofacore.model.weights.row_tasks import RowTasks
from ofacore.parallel import fsdp
from ofacore.parallel.agreement import as_on_every_rank
from ofacore.parallel.process_groups import expert_size, layout
from ofacore.parallel.sync_batch_norm import uncounted
from ofacore.plan import criterion_key
from ofacore.plugin.blame import Blame, who
from ofacore.plugin.guard import built_by
from ofacore.protocols import (
    Adapter,
    AdapterCall,
    AddedPositions,
    AttentionBackbone,
    Batch,
    BatchSide,
    BuildContext,
    CollectiveBackbone,
    CriterionContext,
    ExpertBackbone,
    HeadContext,
    Layout,
    Loss,
    ShardedBackbone,
    Side,
    Stack,
    TermGroup,
    TokenRows,
    seen_as,
)


class UniversalModel(nn.Module):
    """One model for all tasks.

    Args:
        config: Sizes and options.
        registry: Gives the implementations.
        vocabulary: Token blocks of this model.
        artifacts: Preprocessor name -> what it fitted.
        needs: Components to build. What a component starts with depends on its name and ``seed`` alone.
        seed: Seed of the initial values.
    """

    def __init__(
        self,
        config: ModelConfig,
        registry: Components,
        vocabulary: Vocabulary,
        artifacts: Mapping[str, Artifact],
        needs: ModelNeeds,
        seed: int = 1,
    ) -> None:
        super().__init__()
        self.config = config = with_preset_options(config)
        self.registry, self.vocabulary, self.artifacts, self.needs, self.seed = (
            registry,
            vocabulary,
            artifacts,
            needs,
            seed,
        )
        self.sizes = sizes_of(config, registry)
        self._owners: dict[tuple[str, str], str] = {}
        self.stage: Stage | None = None
        self.finite_states: list[tuple[str, Tensor]] = []
        self.gathered_as: torch.dtype | None = None
        silent = frozenset() if config.separator else frozenset({SEP})
        self.embedding = TokenEmbedding(
            vocabulary, self.sizes.hidden, config.tied_head, seed, config.output_bias, silent
        )
        context = BuildContext(
            self.sizes.hidden, {}, vocabulary, self.embedding, artifacts, self.sizes.heads
        )
        self.adapters = assembly.parts("adapter", needs.adapters, context, registry, seed)
        self.heads = assembly.parts("head", needs.heads, context, registry, seed)
        self.criteria = nn.ModuleDict()
        self.plain_criteria: dict[str, Any] = {}
        for part in needs.criteria:
            self.criterion(part.name, part.options)
        self.types = assembly.type_vectors(config, self.adapters, self.sizes.hidden, seed)
        self.source_norm = assembly.embedding_norm(config, self.adapters, self.sizes.hidden)
        self.target_norm = assembly.embedding_norm(config, self.adapters, self.sizes.hidden)
        self.backbone = assembly.backbone(config, self.adapters, needs, registry, seed)
        if isinstance(self.backbone, TokenRows):
            self._take_tokens(self.backbone)
        self.row_tasks: RowTasks | None = None
        self._add_small_parts()

    def _add_small_parts(self) -> None:
        """What is learned in place of the weights, which are frozen: low-rank updates, keys and values."""
        lora, prefix, tasks = self.config.lora, self.config.prefix, self.needs.tasks
        if not (lora.rank or prefix.length):
            return
        low_rank_by_task = bool(lora.rank) and lora.per == "task"
        prefix_by_task = bool(prefix.length) and prefix.per == "task"
        if low_rank_by_task or prefix_by_task:
            self.row_tasks = RowTasks()
        self.requires_grad_(False)
        if lora.rank:
            rows = self.row_tasks if low_rank_by_task else None
            add_low_rank(self, lora, self.seed, tasks, rows)
        if prefix.length:
            rows = self.row_tasks if prefix_by_task else None
            add_prefixes(self, prefix, self.seed, tasks, rows)

    def _take_tokens(self, backbone: TokenRows) -> None:
        """Rows of the token table that the backbone brings, and which tokens it never predicts."""
        rows = backbone.token_rows(self.vocabulary)
        if rows:
            self.embedding.load_portable(rows)
        self.embedding.silent |= backbone.silent_tokens(self.vocabulary)
        self.embedding.cap = getattr(backbone, "logit_cap", None)
        if not self.needs.separator:
            self.embedding.silent |= {SEP}

    def criterion(self, name: str, options: Mapping[str, Any]) -> Any:
        """The criterion of that name, built at first use; ``options`` go before those that the model was built with."""
        base = next((part.options for part in self.needs.criteria if part.name == name), {})
        options = {**base, **options}
        key = criterion_key(name, options)
        if key not in self.criteria and key not in self.plain_criteria:
            build, owner = self.registry.load("criterion", name), self._owner("criterion", name)
            with seeded(f"criterion.{key}", self.seed), built_by(owner):
                built = build(options)
            if isinstance(built, nn.Module) and (self.stage is None or self.stage.last):
                self.criteria[key] = built
            else:
                self.plain_criteria[key] = built
        return self.criteria[key] if key in self.criteria else self.plain_criteria[key]

    # ------------------------------------------------------------ one micro-batch

    @cached_property
    def collective(self) -> frozenset[str]:
        """Adapters whose forward pass takes part in communication between data ranks."""
        component = getattr(self.registry, "component", None)
        declared = {
            n for n in self.adapters if component is not None and component("adapter", n).collective
        }
        chosen = {
            name for name, built in self.adapters.items() if seen_as(Adapter, built).collective
        }
        return frozenset(declared | chosen)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights; features and states are converted to it."""
        return self._any_weight().dtype

    @cached_property
    def restarts(self) -> bool:
        """Coordinates count from 0 in every run and segment, not on through a sequence."""
        return restarts(self.config, self.registry)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._any_weight().device

    def _any_weight(self) -> Tensor:
        table: Tensor | None = self.embedding.table.weight
        return next(self.parameters()) if table is None else table

    def embed(self, side: Side, call: AdapterCall, coordinates: Tensor) -> Tensor:
        """States [n, H] of one adapter's segments at coordinates [n, 3], in the adapter's order, for the backbone."""
        return self._prepared(side, self._raw(side, call, coordinates))

    def _raw(
        self,
        side: Side,
        call: AdapterCall,
        coordinates: Tensor | None,
        place: Callable[[], str] = lambda: "embed",
    ) -> Tensor:
        """Embeddings of one call; without coordinates no positions are mixed in."""
        dtype = self.dtype
        features = {
            name: value.to(dtype) if value.is_floating_point() else value
            for name, value in call.features.items()
        }
        with Blame(self._owner("adapter", call.adapter), place):
            states = self.embedded(call.adapter, features, call.shapes, coordinates)
            if coordinates is not None and len(states) != len(coordinates):
                wanted = f"{len(coordinates)} that length says, for shapes {list(call.shapes[:4])}"
                raise ValueError(f"embed gave {len(states)} positions, not {wanted}")
        if coordinates is not None and call.adapter in self.collective:
            self.finite_states.append((call.adapter, states.detach().isfinite().all()))
        states = states * self.sizes.hidden**0.5 if self.config.scale_embedding else states
        if coordinates is not None and isinstance(self.backbone, AddedPositions):
            added = self.backbone.content_positions(side, coordinates, call.adapter)
            states = states if added is None else states + added
        kind = f"{side}/{call.adapter}"
        states = states + self.types[kind] if kind in self.types else states
        layer_norm = self.source_norm if side == "source" else self.target_norm
        return layer_norm[call.adapter](states) if isinstance(layer_norm, nn.ModuleDict) else states

    def embedded(
        self,
        name: str,
        features: Mapping[str, Tensor],
        shapes: Sequence[tuple[int, ...]],
        coordinates: Tensor | None,
    ) -> Tensor:
        """What an adapter makes of features; one that wants to know where its positions stand is told."""
        where = (coordinates,) if name in self._located else ()
        return self.adapters[name].embed(features, shapes, *where)  # type: ignore[no-any-return,operator]

    @cached_property
    def _located(self) -> frozenset[str]:
        """Adapters that want to know where their positions stand."""
        wanted = {name for name, built in self.adapters.items() if seen_as(Adapter, built).located}
        return frozenset(wanted)

    def _prepared(self, side: Side, states: Tensor) -> Tensor:
        layer_norm = self.source_norm if side == "source" else self.target_norm
        states = states if isinstance(layer_norm, nn.ModuleDict) else layer_norm(states)
        return dropout(states, self.config.dropout, self.training)

    def stream(self, name: Side, batch: Batch) -> tuple[Tensor | None, list[Tensor]]:
        """States [N, H] of one side in stream order, and a zero for each stand-in.

        One call for each adapter that is present; collective adapters are called in the order of their names.
        """
        side = batch.source if name == "source" else batch.target
        others = [call for other, call in batch.stand_ins if other == name]
        calls = [call for call in side.calls if len(call.index)] if side else []
        if self.collective:
            calls.sort(key=lambda call: call.adapter)
        zeros, parts = [], []
        for call in sorted([*calls, *others], key=lambda call: call.adapter) if others else calls:
            if side is None or any(call is other for other in others):
                with uncounted():
                    zeros.append((self._raw(name, call, None) * 0).float().sum())
            else:
                place = partial(_embed_place, call, side.layout)
                parts.append(self._raw(name, call, side.layout.coordinates[call.index], place))
        states = self._assembled(name, side, calls, parts)
        return None if states is None else as_on_every_rank(states), zeros

    def _assembled(
        self,
        name: Side,
        side: BatchSide | None,
        calls: Sequence[AdapterCall],
        parts: Sequence[Tensor],
    ) -> Tensor | None:
        if not calls or side is None:
            return None
        states = parts[0] if len(parts) == 1 else torch.cat(parts)
        index = calls[0].index if len(calls) == 1 else torch.cat([call.index for call in calls])
        as_noted = len(calls) == len(side.calls) and all(
            a is b for a, b in zip(calls, side.calls, strict=True)
        )
        if as_noted and side.order is not None:
            return self._prepared(name, permute(states, side.order, index))
        if not (as_noted and side.in_order) and not is_range(index):
            states = permute(states, torch.argsort(index), index)
        return self._prepared(name, states)

    def hidden(self, batch: Batch) -> Hidden:
        """Hidden states of a micro-batch; begins a new forward pass."""
        self.embedding.begin()
        self.finite_states.clear()
        if self.row_tasks is not None:
            self._note_tasks(self.row_tasks, batch)
        source, zeros = self.stream("source", batch)
        target, more = self.stream("target", batch)
        memory = decoded = None
        balance: list[Tensor] = []
        idle = [*zeros, *more, None if source is not None else self._idle("encoder")]
        if source is not None and batch.source is not None:
            memory = self._through("encode", source, batch.source.layout)
            balance = self._balance()
        if target is not None and batch.target is not None:
            layout = (
                batch.source.layout if memory is not None and batch.source is not None else None
            )
            decoded = self._through("decode", target, batch.target.layout, memory, layout)
            balance = self._balance()
        else:
            idle.append(self._idle("decoder"))
        mean_balance = torch.stack(balance).mean() if balance else None
        found = Hidden(memory, decoded, mean_balance, idle=total(idle))
        if self.needs.attention_layers and memory is not None and decoded is not None:
            assert batch.source is not None and batch.target is not None
            assert isinstance(self.backbone, AttentionBackbone)
            found.attention = self.backbone.attention
            found.layouts = batch.source.layout, batch.target.layout
        return found

    @staticmethod
    def _note_tasks(rows: RowTasks, batch: Batch) -> None:
        if batch.source is not None:
            rows.note("source", batch.source.layout)
        if batch.target is not None:
            rows.note("target", batch.target.layout)

    def for_task(self, task: str) -> None:
        """What the backbone decodes from now on belongs to this task, until the next micro-batch."""
        if self.row_tasks is not None:
            self.row_tasks.note_one(task)

    def _through(self, method: str, states: Tensor, *rest: Any) -> Tensor:
        """What `Backbone.encode` or `Backbone.decode` gives for states [N, H]."""
        with Blame(self._owner("backbone", self.config.backbone), method):
            found: Tensor = getattr(self.backbone, method)(states, *rest)
            if not isinstance(found, Tensor) or found.shape != states.shape:
                given = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
                raise ValueError(
                    f"{method} gave {given}, not {list(states.shape)}: one state for each position"
                )
        return found

    def _balance(self) -> list[Tensor]:
        return list(self.backbone.balance) if isinstance(self.backbone, ExpertBackbone) else []

    def _idle(self, stack: Stack) -> Tensor | None:
        return self.backbone.idle(stack) if isinstance(self.backbone, CollectiveBackbone) else None

    def predict(self, group: TermGroup, hidden: Hidden) -> Any:
        """What a group's head says about the group's positions."""
        states = hidden.source if group.side == "source" else hidden.target
        assert states is not None
        whole = group.whole
        if whole is None:
            whole = len(group.index) == len(states) and is_range(group.index)
        if not whole:
            states = states.index_select(0, group.index)
        with Blame(
            self._owner("head", group.head), f"for {group.terms[0] if group.terms else 'no term'}"
        ):
            return self.heads[group.head](states, HeadContext(group.lengths, group.blocks))

    def loss(self, group: TermGroup, prediction: Any, hidden: Hidden | None = None) -> Loss:
        """Losses of a group's items.

        Raises:
            PluginError: The criterion gives no losses that can be trained on.
        """
        criterion = self.criterion(group.criterion, group.options)
        attention = (
            self._attention(criterion, group, hidden) if "attention" in criterion.needs else None
        )
        context = CriterionContext(group.lengths, group.label_lengths, attention)
        owner, place = (
            self._owner("criterion", group.criterion),
            f"for {group.terms[0] if group.terms else 'no term'}",
        )
        with Blame(owner, place):
            found = criterion(prediction, group.labels, context)
        return checked_loss(found, prediction, len(group.lengths), owner, place)

    def distillation(self, group: TermGroup, prediction: Any, taught: Any) -> Loss:
        """How far the items of a group are from what a teacher predicts for them.

        Raises:
            PluginError: The criterion gives no losses that can be trained on.
        """
        criterion = self.criterion(group.criterion, group.options)
        context = CriterionContext(group.lengths, group.label_lengths)
        owner, place = self._owner("criterion", group.criterion), f"for {group.terms[0]}"
        with Blame(owner, f"distillation, {place}"):
            found = criterion.distillation(prediction, taught, group.labels, context)
        return checked_loss(found, prediction, len(group.lengths), owner, place)

    def source_of_not_finite(
        self, batch: Batch, hidden: Hidden | None = None, groups: Sequence[TermGroup] = ()
    ) -> str:
        """The adapter, head or criterion of a micro-batch that does it, and its plugin; empty where none is known."""
        kind, name = source_of_not_finite(self, batch, hidden, groups)
        return self._owner(kind, name) if kind else ""

    def _owner(self, kind: str, name: str) -> str:
        """A component and its plugin, for messages; found once."""
        if (kind, name) not in self._owners:
            self._owners[kind, name] = who(self.registry, kind, name)
        return self._owners[kind, name]

    def _attention(
        self, criterion: Any, group: TermGroup, hidden: Hidden | None
    ) -> list[list[Tensor]]:
        if hidden is None or hidden.layouts is None or group.side == "source":
            raise UserError(
                f"criterion '{group.criterion}' of {group.terms[0]} needs the attention of a target on its source; "
                "set it on a target slot of an instruction that has both sides"
            )
        layers = layers_of(criterion, group.criterion, self.sizes.decoder_layers)
        source, target = hidden.layouts
        return item_attention(hidden.attention, layers, group, target, source)

    def auxiliary(self, batch: Batch, hidden: Hidden) -> list[tuple[TermGroup, Loss]]:
        """Terms that no task asked for: the balance of learned routers (Fedus et al. 2021), if the model has any.

        The loss couples all positions of a micro-batch, so its gradient depends on how a step is split. It has no
        count of its own: a step's samples count, and this micro-batch weighs as many as it holds.
        """
        if hidden.balance is None or not self.config.experts_balance:
            return []
        group = TermGroup(
            "",
            "",
            "target",
            {},
            (),
            torch.empty(0, dtype=torch.int64),
            (0,),
            {},
            {},
            ("balance",),
            (1,),
            (self.config.experts_balance * len(batch.samples),),
            (0,),
        )
        return [(group, Loss(hidden.balance.float().reshape(1)))]

    def losses(self, batch: Batch) -> list[tuple[TermGroup, Loss]]:
        """Losses of all groups of a micro-batch and auxiliary terms, without criteria that need the whole step."""
        batch = batch_on(batch, self.device)
        hidden = self.hidden(batch)
        own = [
            group
            for group in batch.terms
            if self.criterion(group.criterion, group.options).scope != "step"
        ]
        found = [(group, self.loss(group, self.predict(group, hidden), hidden)) for group in own]
        return found + self.auxiliary(batch, hidden)

    def forward(self, batch: Batch) -> list[tuple[TermGroup, Loss]]:
        """The same as `losses`."""
        return self.losses(batch)

    # ------------------------------------------------------------ parameters

    def train(self, mode: bool = True) -> UniversalModel:
        """Set training mode; modules whose parameters are all frozen stay in evaluation mode."""
        super().train(mode)
        if mode:
            for module in self.modules():
                parameters = list(module.parameters())
                if parameters and not any(parameter.requires_grad for parameter in parameters):
                    module.eval()
        return self

    def freeze(self, patterns: Iterable[str]) -> list[str]:
        """Stop training parameters whose name matches one of the patterns (`re.search`); returns their names.

        Raises:
            ValueError: A pattern matches nothing.
        """
        return freeze(self, patterns)

    def whole_names(self) -> tuple[str, ...]:
        """Names of all parameters, those that other processes hold included; they must call this together."""
        return names_everywhere(self)

    def shard(self, dtype: torch.dtype | None = None) -> None:
        """Split the layers over data ranks, where the layout asks for it; when weights are loaded.

        They compute in ``dtype``, whatever the format that their parameters are kept in; default: that one.
        """
        if layout().fsdp:
            assert isinstance(self.backbone, ShardedBackbone)
            fsdp.shard(self.backbone.units(), dtype)
            self.gathered_as = dtype

    def to_bf16(self) -> UniversalModel:
        """Convert all floating-point weights and buffers to bf16 in place."""
        return self.to(torch.bfloat16)

    def portable_names(self) -> list[str]:
        """Names of `portable_state`, of what this process holds."""
        return [f"embedding.{name}" for name in self.embedding.portable_names()] + list(
            stored(self)
        )

    def portable_state(self) -> dict[str, Tensor]:
        """Every parameter and persistent buffer by name, the token table as ``embedding.<block name>``.

        Parts that the tensor group, the expert group and the pipeline stages hold are gathered: all processes must
        call this together.
        """
        return whole_state(self)

    def held_weights(self) -> Mapping[str, Tensor]:
        """The same, each tensor when it is asked for, and not to be changed: no second model is made of them.

        All processes must call this together, and ask for the same tensors in the same order.
        """
        apart = self.stage is not None or expert_size() > 1
        return self.portable_state() if apart else HeldWeights(self)

    def portable_rows(self, name: str) -> dict[str, slice]:
        """Portable name -> rows of a parameter: one for each block of a token table, else the parameter itself.

        Where the tensor group splits the parameter: those of this process.
        """
        tables = {
            "embedding.table.weight": "",
            "embedding.projection.weight": ".output",
            "embedding.bias": ".bias",
        }
        if name not in tables:
            return {name: slice(None)}
        own = self.vocabulary.range if name == "embedding.bias" else self.embedding.parts.own
        rows = {block.name: own(block.name) for block in self.vocabulary.blocks}
        return {
            f"embedding.{block}{tables[name]}": slice(part.start, part.stop)
            for block, part in rows.items()
        }

    @torch.no_grad()
    def load_portable(
        self, state: Mapping[str, Tensor], strict: bool = True
    ) -> tuple[list[str], list[str]]:
        """Copy values by name; blocks and components may have joined in another order.

        Returns:
            Names that this model has and ``state`` lacks (they keep their values), and the reverse.

        Raises:
            ValueError: ``strict`` and something is missing or unknown, or a shape differs.
        """
        missing, unknown = missing_and_unknown(self, state)
        if strict and (missing or unknown):
            raise ValueError(
                f"state does not fit this model; missing: {missing or 'none'}; unknown: {unknown or 'none'}"
            )
        take_over(self, state)
        return missing, unknown


def _embed_place(call: AdapterCall, layout: Layout) -> str:
    """Slots that an adapter was called for, for messages."""
    segments = dict.fromkeys(layout.segment[call.index].tolist())
    return f"embed, for {listing(dict.fromkeys(layout.slots[number] for number in segments))}"
