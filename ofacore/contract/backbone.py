"""From states to hidden states: backbones, what they may offer besides, and routers of experts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from ofacore.contract.batch import Layout
from ofacore.contract.modules import PositionGrid, PositionLine
from ofacore.contract.positions import Positions, PositionsContext, Stack
from ofacore.contract.values import Options
from ofacore.ground.vocabulary import Vocabulary
from ofacore.plugin.manifest import Side

if TYPE_CHECKING:
    from torch import Tensor, nn


class Routes(NamedTuple):
    """Where positions go: what a `Router` gives. A plain tuple of the first few fields does as well."""

    experts: Tensor
    """int64 [N, k]: k different experts of each position, from 0 to ``number - 1``."""
    gates: Tensor | None = None
    """[N, k]: share of each of them in the position's result; None: k is 1, and the expert has all of it."""
    loss: Tensor | None = None
    """A number that is learned to be small, such as 1 for an even use of all experts and more for any other. Its mean
    over the layers, times ``model.experts_balance``, is added to the loss of a micro-batch."""
    counts: tuple[int, ...] | None = None
    """Positions of each expert, of a k of 1, where the host knows them; None: the device is asked."""


class Router(Protocol):
    """Chooses feed-forward experts. Built as ``cls(options)``.

    The options are its own, with ``hidden`` (width of the states), ``number`` and ``names`` of the experts, and ``k``,
    the experts for each position that ``model.experts_k`` asks for, at most ``number``.

    A router that is an ``nn.Module`` may own parameters. There is one in each layer, which chooses from the states of
    that layer; its parameters are trained, saved and loaded as the layer's. Its matrices start with normal numbers of
    deviation 0.02, whatever the constructor gave, its vectors as they were built. All processes of a tensor group
    compute it alike.

    Any other router is built once for a model and chooses once for all layers, from the layout alone.

    An attribute ``experts`` says what the experts are: ``numbers`` (the default), as many as ``model.experts_number``,
    or one for each of the model's ``adapters`` or ``tasks``, in the order in which they joined.

    While a target is produced, ``segment``, ``causal`` and ``visible`` of the layout are zeros.
    """

    def __call__(self, layout: Layout, hidden: Tensor | None) -> Routes | tuple[Tensor, Tensor]:
        """Experts of all positions. ``hidden``: states [N, H] of the layer; None where the router is no module."""


class BackboneConfig(Protocol):
    """What a backbone may read of the section ``model``: every size is a number, be it set or that of the preset.

    `docs/configuration.md` says what the keys mean. The rest of the section is there too, without a promise.
    """

    hidden: int
    """Width H of the states."""
    ffn: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    max_positions: int
    norm: Literal["pre", "post"]
    norm_type: Literal["layernorm", "rmsnorm"]
    activation: Literal["gelu", "relu", "silu"]
    dropout: float
    """On residual branches; embeddings had theirs already."""
    attention_dropout: float
    activation_dropout: float
    checkpoint_activations: bool


@dataclass(frozen=True)
class BackboneContext:
    """What a backbone may depend on besides the configuration; names are in the order in which they joined."""

    adapters: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    linear: frozenset[str] = frozenset()
    """Adapters whose positions lie on a line, as tokens do."""
    grids: Mapping[str, PositionGrid] = field(default_factory=dict)
    """Adapters that say where their cells stand."""
    attention_layers: frozenset[int] = frozenset()
    """Decoder layers whose cross-attention weights are kept, for criteria that need them; see `AttentionBackbone`."""
    positions: Callable[[PositionsContext], Positions] | None = None
    """What builds the position scheme that the configuration names."""
    seed: int = 1
    """Of the run. torch's random numbers are seeded already, by it and the backbone's name."""
    router: Any = None
    """How positions find their experts, for an `ExpertBackbone`; None: layers are dense."""
    options: Options = field(default_factory=dict)
    """Every option that the component declares, with what the configuration sets before the default."""
    lines: Mapping[str, PositionLine] = field(default_factory=dict)
    """Adapters on a line that have tables of learned positions of their own size."""


class Backbone(Protocol):
    """Between adapters and heads: an ``nn.Module``. Built as ``cls(config: BackboneConfig, context: BackboneContext)``.

    These two methods are enough to train, save, load and generate; `ofacore.parts.pad_sequences` makes padded rows of
    a stream. It may declare

    - ``hidden_size(config) -> int``, a static method: the width H, where the backbone knows it better than
      ``config.hidden``; adapters and heads follow it;
    - ``restarts = True`` or ``False``: coordinates count from 0 in every run of tokens and every segment, or on through
      the sequence. Without it the scheme that ``model.positions`` names decides;
    - ``most``: positions in a run, or in a sequence where coordinates do not restart, that it tells apart; None or
      absent: any number. Generation ends there.

    - ``stored_options(options) -> Options``, a static method: what a checkpoint keeps of its options, without the files
      that nobody needs once the weights are stored.

    What it may offer besides, each a protocol of its own: `CachedBackbone`, `AddedPositions`, `TokenRows`,
    `AttentionBackbone`, `ExpertBackbone`, `CollectiveBackbone`, `ShardedBackbone`, `StagedBackbone`,
    `TaskedBackbone`, `RowedBackbone`, `PrefixedBackbone`. In how many ways its work can be divided its manifest says,
    ``Component(divides=...)``.
    """

    def encode(self, states: Tensor, layout: Layout) -> Tensor:
        """Source states [N, H] -> hidden [N, H]. Positions of other sequences have no influence."""

    def decode(
        self, states: Tensor, layout: Layout, memory: Tensor | None, source: Layout | None
    ) -> Tensor:
        """Target states [M, H] -> hidden [M, H], reading encoder output [N, H].

        What a position may see: in its own segment all, or none that come later where ``layout.causal``; of earlier
        segments of its sequence those that are ``layout.visible``; of ``memory`` the sequence ``layout.memory`` names.
        Without a source ``memory`` and ``source`` are None.
        """


class DecodeCache(Protocol):
    """What a `CachedBackbone` remembers of R rows. The core moves rows; only the backbone looks inside."""

    @property
    def rows(self) -> int:
        """Number of rows R."""

    @property
    def length(self) -> int:
        """Positions of the longest row."""

    def begin_segment(self) -> None:
        """What follows belongs to a segment of its own."""

    def reorder(self, rows: Tensor) -> None:
        """Keep rows by index int64 [R'], on any device; an index may occur several times or not at all."""

    def fork(self) -> DecodeCache:
        """An independent cache in the same state."""


@runtime_checkable
class CachedBackbone(Protocol):
    """What a `Backbone` may offer besides, so that a step of decoding need not run what came before again.

    Without it `ofacore.parts.UncachedDecoder` serves: the same numbers, but every step runs the whole prefix.
    """

    def start_cache(
        self,
        rows: int,
        memory: Tensor | None = None,
        source: Layout | None = None,
        *,
        tasks: tuple[str, ...] = (),
    ) -> DecodeCache:
        """An empty cache for ``rows`` rows.

        Args:
            rows: Number of rows R.
            memory: Encoder output [N, H] of every source; None: nothing to read.
            source: Its layout; row r reads sequence r.
            tasks: The one task of all rows; empty: unknown.
        """

    def extend(
        self,
        states: Tensor,
        coordinates: Tensor,
        cache: Any,
        valid: Tensor | None = None,
        adapter: str = "",
        causal: bool = True,
        keep: bool = True,
    ) -> Tensor:
        """Hidden states [R, n, H] of new positions behind those of the cache; equal to those of one `Backbone.decode`.

        Args:
            states: Embedded positions [R, n, H].
            coordinates: int64 [R, n, 3].
            cache: What came before; changed in place.
            valid: bool [R, n], left-aligned: real positions; others leave no trace. None: all.
            adapter: What made the positions.
            causal: New positions see earlier ones only; otherwise they are a segment whose positions see each other.
            keep: Later positions see the new ones; otherwise they leave no trace.
        """


@runtime_checkable
class AddedPositions(Protocol):
    """What a `Backbone` may offer besides, where positions are added to embeddings before these are normalised."""

    def content_positions(self, side: Side, coordinates: Tensor, adapter: str) -> Tensor | None:
        """Coordinates int64 [n, 3] of one adapter's positions -> [n, H] to add, or None."""


@runtime_checkable
class TokenRows(Protocol):
    """What a `Backbone` may offer besides, where it stands for a model that knows tokens: the rows of its table.

    It may declare, too,

    - ``logit_cap``: a number c; logits are ``c * tanh(logit / c)``. None or absent: they are as they are;
    - ``end_tokens(vocabulary) -> Sequence[int]``: ids that end a text as ``<eos>`` does; of all ends the likeliest one
      counts.
    """

    def token_rows(self, vocabulary: Vocabulary) -> Mapping[str, Tensor]:
        """Initial rows: ``<block>`` -> [size, H], ``<block>.output`` of an untied output, ``<block>.bias`` [size].

        Empty where the weights come from a checkpoint. Blocks that are left out start as they always do.
        """

    def silent_tokens(self, vocabulary: Vocabulary) -> frozenset[int]:
        """Ids that have no part in any prediction, such as the twin of a core token in the model's own table."""


@runtime_checkable
class AttentionBackbone(Protocol):
    """What a `Backbone` may offer besides, for criteria with ``needs = {"attention"}``."""

    attention: Mapping[int, list[Tensor]]
    """Of the latest `Backbone.decode`: layer -> cross-attention weights [rows, heads, L, K] of each of
    ``layout.rows``, for every layer of ``context.attention_layers``."""


@runtime_checkable
class ExpertBackbone(Protocol):
    """What a `Backbone` may offer besides: feed-forward experts, as ``model.experts`` asks for."""

    balance: list[Tensor]
    """Losses of the latest pass that spread positions over experts, one for each layer that ran; emptied by `encode`,
    and by the core."""

    def expert_names(self) -> tuple[str, ...]:
        """Names of the experts, the same in all layers; empty for dense ones."""


@runtime_checkable
class CollectiveBackbone(Protocol):
    """What a `Backbone` may offer besides, where its passes take part in communication between processes."""

    def idle(self, stack: Stack, layers: range | None = None) -> Tensor | None:
        """What `encode` or `decode` owes to other processes, where this one has no positions on that side.

        Args:
            stack: Which of the two.
            layers: As of a `StagedBackbone`.

        Returns:
            0 with a gradient path through the communication; None where nothing is owed.
        """


@runtime_checkable
class ShardedBackbone(CollectiveBackbone, Protocol):
    """What a `Backbone` may offer besides, so that FSDP can split its weights over data ranks."""

    def units(self) -> Sequence[nn.Module]:
        """Modules that are gathered one at a time; every pass calls each of them once, in `idle` too."""


@runtime_checkable
class StagedBackbone(CollectiveBackbone, Protocol):
    """What a `Backbone` may offer besides, so that a pipeline can cut it: it has as many layers as its configuration.

    Its `encode`, `decode` and `idle` take ``layers: range | None``, those of one stage: what comes before the first and
    after the last layer goes with them. None: all.
    """

    def readers(self, name: str) -> Iterable[tuple[Stack, int | None]] | None:
        """Who uses one of its parameters or buffers: (stack, number of the layer or None for all); None: everybody."""


@runtime_checkable
class TaskedBackbone(Protocol):
    """What a `Backbone` may offer besides, so that low-rank updates of its linears can differ by task."""

    def side_of(self, name: str) -> Side | None:
        """The side whose stream [N, H] a linear of that name reads, position by position; None: it reads otherwise."""


@runtime_checkable
class RowedBackbone(TaskedBackbone, Protocol):
    """What a `TaskedBackbone` may offer besides, whose linears read rows that it makes of the stream."""

    def rows_by_task(self) -> Sequence[tuple[str, Tensor | None]]:
        """Tasks of what its linears read now, each with its rows int64 [n] along the first dimension.

        None in place of rows: all of them are the task's. It is asked while a layer runs, and when activations are
        computed again, too.
        """


class KeyShape(NamedTuple):
    """Sizes of the keys and values that an attention takes."""

    heads: int
    """Heads h of keys, which may be fewer than those of queries."""
    keys: int
    """Width d of a key."""
    values: int
    """Width e of a value."""


class KeysAhead(NamedTuple):
    """Keys and values that stand before those of R rows."""

    keys: Tensor
    """[R, h, P, d]."""
    values: Tensor
    """[R, h, P, e]."""
    seen: Tensor | None = None
    """bool [R, P]: which of them all positions of a row see; None: all."""


@runtime_checkable
class PrefixedBackbone(Protocol):
    """What a `Backbone` may offer besides, so that learned keys and values stand before those of its attentions.

    They have no position: nothing that is made from positions reaches them. Where they are to differ by task it is a
    `RowedBackbone`, too.
    """

    def attentions(self) -> Mapping[str, KeyShape]:
        """Sizes by name below the backbone, of every attention.

        Raises:
            UserError: It has attention that takes no keys from outside.
        """

    def put_ahead(self, name: str, learned: Callable[[int], KeysAhead | None]) -> None:
        """Ask a module for keys and values in each pass of one attention.

        Args:
            name: Of the attention.
            learned: An ``nn.Module``, called with the number of rows R that the attention reads; None: it has none for
                them. It becomes a part of the attention, as ``prefix``.
        """
