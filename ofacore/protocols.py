"""The contract: what a plugin implements, and the data that travels between the rooms of the core.

Nothing here imports torch; tensors appear in annotations only. `Artifact`, `Vocabulary`, `Block` and the ids of the
core tokens are public through this module too. One sample's way through these types::

    row --Preprocessor.encode--> TokenSegment | DenseSegment --runs--> Piece --collate--> Batch
        --Adapter.embed--> states [N, H] --backbone--> hidden --Head--> prediction --Criterion--> Loss

States of a micro-batch are one flat stream ``[N, H]``: N is the number of real positions of all samples, so no linear
layer ever sees padding. Attention works on ``Layout.rows``, index matrices into that stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np

from ofacore.artifacts import Artifact
from ofacore.excerpts import excerpt, listing
from ofacore.plugin.manifest import Side
from ofacore.vocabulary import BOS, EOS, MASK, PAD, SEP, UNK, Block, Vocabulary

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

__all__ = [
    "BOS",
    "EOS",
    "MASK",
    "PAD",
    "SEP",
    "UNK",
    "Adapter",
    "AdapterCall",
    "Aggregator",
    "AggregatorContext",
    "Artifact",
    "AsCompared",
    "AsDecoded",
    "AttentionCriterion",
    "Backbone",
    "Batch",
    "BatchSide",
    "Block",
    "BuildContext",
    "ColumnFitting",
    "Corruption",
    "Criterion",
    "CriterionContext",
    "DecodeSession",
    "DenseSegment",
    "Example",
    "GenerationOptions",
    "Generator",
    "Head",
    "HeadContext",
    "Hypothesis",
    "JointRenderer",
    "Layout",
    "Loss",
    "Metric",
    "ModuleFactory",
    "Options",
    "Piece",
    "Preprocessor",
    "Produced",
    "Record",
    "Router",
    "RowContext",
    "RowError",
    "RowRequest",
    "RowTransform",
    "SampleInfo",
    "Schedule",
    "ScheduleContext",
    "Segment",
    "Side",
    "SlotFitting",
    "SlotPlan",
    "Split",
    "TargetSpec",
    "TaskShare",
    "TermGroup",
    "TermItem",
    "TokenSegment",
    "Tracker",
    "Upgradable",
    "Vocabulary",
    "excerpt",
    "listing",
]

Split = Literal["train", "valid", "test", "infer"]
Options = Mapping[str, Any]


class RowError(ValueError):
    """A value that cannot be used: names the column, what is wrong, and what would be right.

    Core code adds the task and the row number. A preprocessor raises it for bad values and nothing else.
    """


# ---------------------------------------------------------------- the plan's view of one slot


@dataclass(frozen=True)
class SlotPlan:
    """One slot of a validated instruction, with everything that was decided about it."""

    name: str
    """Column that the value comes from."""
    type: str
    side: Side
    position: int
    """Pre-order number in the unexpanded template, plain text counted."""
    preprocessor: str
    adapter: str
    attributes: Options = field(default_factory=dict)
    """Typed values, defaults filled in."""
    head: str = ""
    criterion: str = ""
    generator: str = ""
    corruption: str = ""
    loss: bool = False
    """A target slot whose positions are learned."""
    plain: str | None = None
    """The fixed text of plain text; None for a slot."""
    repeat: tuple[str, ...] = ()
    """Columns of the repeat that holds the slot, its own included; a row transform drops the same place from each."""


# ---------------------------------------------------------------- encoding rows


@dataclass
class RowContext:
    """What surrounds one value while its row is encoded; kept for decoding, metrics and pictures."""

    row: Mapping[str, Any]
    task: str
    split: Split
    rng: np.random.Generator
    """Seeded by (run seed, task, epoch, item): the only source of randomness for this row."""
    published: dict[str, Any] = field(default_factory=dict)
    """Slot name -> what its preprocessor or row transform tells others, such as the geometry of an image."""
    closed_sets: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Slot name -> allowed values, for slots with ``closed_set``."""
    options: Mapping[str, Options] = field(default_factory=dict)
    """Preprocessor -> its options as the model has them, for row transforms: these are built once, of its type."""


@dataclass
class TokenSegment:
    """Tokens of one slot. Adjacent token segments form one run: one ``<bos>``, running positions, one shift."""

    ids: np.ndarray
    """int64 [n], vocabulary ids."""
    blocks: tuple[str, ...]
    """Blocks that its labels may come from, besides the core tokens ``<eos>`` and ``<sep>``."""
    open: bool = True
    """Its length is not fixed: it ends with ``<eos>`` or ``<sep>``."""
    inputs: np.ndarray | None = None
    """int64 [n]: what a decoder reads in place of ``ids`` (noised tokens); None: the same."""
    weights: np.ndarray | None = None
    """bool [n]: positions that carry loss; None: all."""
    allowed: tuple[np.ndarray, ...] | None = None
    """For each position, and one more for the end: ids among which the softmax runs (a closed set)."""
    boundaries: bool = True
    """False: no ``<bos>``/``<eos>`` is added around the run that this segment begins."""
    shift: bool = True
    """False: labels stand at their own position and all positions see each other (masked prediction)."""


@dataclass
class DenseSegment:
    """Features that an adapter turns into positions: an image, frames, numbers."""

    features: Mapping[str, np.ndarray]
    """Arrays that are concatenated along axis 0 with those of the adapter's other segments."""
    shape: tuple[int, ...]
    """What `Adapter.length` and `Adapter.coordinates` need to know."""
    labels: Mapping[str, np.ndarray] | None = None
    """For the criterion, concatenated along axis 0; None on the source or without loss."""
    causal: bool = False
    """Positions see only earlier ones of this segment. Such a segment brings its inputs already shifted."""
    context: Mapping[str, np.ndarray] | None = None
    """Clean features for later segments where ``features`` are corrupted; None: not corrupted."""
    loss_positions: np.ndarray | None = None
    """int64: positions that a positionwise head sees; None: all."""


Segment = TokenSegment | DenseSegment


@dataclass(frozen=True)
class TargetSpec:
    """What a target value that is to be generated will look like."""

    blocks: tuple[str, ...] = ()
    """Vocabulary blocks of its tokens; empty for dense targets."""
    open: bool = True
    """It ends by itself, with ``<eos>`` or ``<sep>``."""
    length: int | None = None
    """Number of tokens or positions, where known."""
    closed_set: tuple[np.ndarray, ...] = ()
    """int64 ids of every allowed value, without boundaries; empty: anything."""


@dataclass
class Piece:
    """A segment ready for the model: shifted, with its coordinates."""

    slot: SlotPlan
    adapter: str
    features: Mapping[str, np.ndarray]
    shape: tuple[int, ...]
    coordinates: np.ndarray
    """int64 [n, 3]: (t, y, x); text uses (i, i, i)."""
    causal: bool = False
    visible: bool = True
    """Later pieces see it; a corrupted target is seen by itself only."""

    @property
    def length(self) -> int:
        return len(self.coordinates)


@dataclass
class TermItem:
    """One piece's share in a loss term."""

    term: str
    """``task/slot`` or ``task/slot/criterion``."""
    side: Side
    pieces: tuple[int, ...]
    """Which pieces of that side (of ``Example.sequences`` order) its hidden states come from, in order."""
    head: str
    criterion: str
    labels: Mapping[str, np.ndarray]
    count: int
    """Units of loss by `Criterion.count`."""
    positions: np.ndarray | None = None
    """int64: offsets within the concatenated pieces; None: all positions."""
    blocks: tuple[str, ...] = ()
    weight: float = 1.0
    options: Options = field(default_factory=dict)


@dataclass
class Example:
    """One encoded row."""

    task: str
    row_id: str
    """``file:line``, ``split[index]``: where a user finds the row."""
    source: tuple[tuple[Piece, ...], ...]
    """One sequence of pieces, none for decoder-only instructions, two for a contrast."""
    target: tuple[Piece, ...]
    terms: tuple[TermItem, ...]
    context: RowContext | None = None


# ---------------------------------------------------------------- batches (tensors)


@dataclass(frozen=True)
class RowPlaces:
    """Where the positions of a stream stand in the rows of its attention groups, all groups one behind the other."""

    index: Tensor | None
    """int64 [slots]: position of each slot, 0 where empty; None: slots are the stream itself."""
    inverse: Tensor | None
    """int64 [N]: slot of each position; None where a position may stand in several slots, or ``index`` is None."""


@dataclass(frozen=True)
class LayoutFacts:
    """What the host knows of a `Layout`, so that it need not ask the device."""

    full: tuple[bool, ...]
    """For each of ``rows``: every position sees every other in self-attention, and no place is empty."""
    places: RowPlaces
    """Of ``rows``."""
    adapters: tuple[int, ...]
    """Positions of each of the layout's adapters."""
    tasks: tuple[int, ...]
    """Positions of each of its tasks."""
    memory_full: tuple[bool, ...] = ()
    """For each of ``memory_rows``: every position reads every one, or none at all."""
    memory_blind: tuple[bool, ...] = ()
    """For each of ``memory_rows``: some place of the row reads nothing."""
    memory_places: RowPlaces | None = None
    """Of ``memory_rows``."""


@dataclass
class Layout:
    """Where every position of one side of a micro-batch stands. N positions, S sequences."""

    sequence: Tensor
    """int64 [N]: sequence of each position; positions of a sequence are contiguous and in order."""
    segment: Tensor
    """int64 [N]: number of the piece that the position belongs to, unique within the side."""
    coordinates: Tensor
    """int64 [N, 3]."""
    causal: Tensor
    """bool [N]: the position sees only earlier positions of its own segment."""
    visible: Tensor
    """bool [N]: later segments of the same sequence see it."""
    adapter: Tensor
    """int64 [N]: index into ``adapters``."""
    adapters: tuple[str, ...]
    task: Tensor
    """int64 [N]: index into ``tasks``."""
    tasks: tuple[str, ...]
    slots: tuple[str, ...]
    """Name ``task/slot`` of every segment, in segment order."""
    rows: tuple[Tensor, ...]
    """Attention groups: int64 [rows, L] of positions, -1 where empty. A row holds whole sequences, one or several."""
    sequences: int = 0
    memory: Tensor | None = None
    """int64 [S], target only: source sequence that each target sequence reads, -1 for none."""
    memory_rows: tuple[Tensor, ...] = ()
    """Target only, parallel to ``rows``: int64 [rows, K] of source positions that the row's sequences read, or -1."""
    facts: LayoutFacts | None = None
    """None: nothing but the tensors is known."""

    @property
    def positions(self) -> int:
        return int(self.sequence.shape[0])


@dataclass
class AdapterCall:
    """All segments of one adapter on one side of a micro-batch: one `Adapter.embed` call."""

    adapter: str
    features: dict[str, Tensor]
    shapes: tuple[tuple[int, ...], ...]
    index: Tensor
    """int64 [n]: where the embedded positions go in the stream, in the adapter's output order."""


@dataclass
class BatchSide:
    """Source or target of a micro-batch."""

    layout: Layout
    calls: tuple[AdapterCall, ...]
    in_order: bool | None = None
    """What the calls give, one behind the other, is the stream; None: nobody knows."""
    order: Tensor | None = None
    """int64 [N]: place of each position in what the calls give; None: nobody knows, or it is ``in_order``."""


@dataclass
class TermGroup:
    """Loss items of a micro-batch that share head, criterion, options and blocks: one head and one criterion call."""

    head: str
    criterion: str
    side: Side
    options: Options
    blocks: tuple[str, ...]
    index: Tensor
    """int64 [m]: positions of the side's stream, items in order."""
    lengths: tuple[int, ...]
    """Positions of each item; sum is m."""
    labels: dict[str, Tensor]
    label_lengths: dict[str, tuple[int, ...]]
    """Label name -> rows of each item."""
    terms: tuple[str, ...]
    """Term of each item."""
    counts: tuple[int, ...]
    weights: tuple[float, ...]
    samples: tuple[int, ...]
    """Index into ``Batch.samples`` of each item."""
    whole: bool | None = None
    """``index`` is all positions of the side in order; None: nobody knows."""


@dataclass(frozen=True)
class SampleInfo:
    """Where a sample of a batch came from."""

    task: str
    row_id: str
    number: int = 0


@dataclass
class Batch:
    """One micro-batch, ready for the model."""

    source: BatchSide | None
    target: BatchSide | None
    terms: tuple[TermGroup, ...]
    samples: tuple[SampleInfo, ...]
    stand_ins: tuple[tuple[Side, AdapterCall], ...] = ()
    """Calls of adapters marked ``collective`` that another rank makes here; what they give counts for nothing."""


# ---------------------------------------------------------------- what plugins implement

BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class Hypothesis:
    """One candidate value of a target slot, as produced by a generator."""

    value: np.ndarray
    """int64 [n] vocabulary ids without boundaries, or float32 [n, ...] features."""
    score: float = 0.0
    """What candidates are ordered by, higher is better: ``log_prob / tokens ** length_penalty`` of an open value, the
    ``log_prob`` itself of a member of a closed set; 0 where the generator has none."""
    log_probs: np.ndarray | None = None
    """float32 [n]: log-probability of each token."""
    finished: bool = True
    log_prob: float | None = None
    """Log-probability of the value under the model: the sum over its tokens and its end; None where it has none."""
    tokens: int = 0
    """How many tokens ``log_prob`` is the sum of, the end counted."""


Produced = tuple[Hypothesis, ...]
"""Candidates for one slot of one row, best first."""


@runtime_checkable
class Preprocessor(Protocol):
    """Turns values into segments and back. Built as ``cls(options)`` with the options of its component; picklable.

    Calls come in this order: ``fit`` once at model creation (never after loading), ``blocks``, ``bind``, then
    ``encode`` and ``decode`` any number of times, in any process.
    """

    def fit(self, values: Iterable[Any], rng: np.random.Generator) -> Artifact | None:
        """Learn from values of all tasks (plain text too, for the type that serves it); None if nothing to learn."""

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        """Vocabulary blocks that it needs; the digest of the artifact is part of a fitted block's name."""

    def bind(self, vocabulary: Vocabulary, artifact: Artifact | None) -> None:
        """Receive the model's vocabulary and its own artifact."""

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """Segments of one value.

        Raises:
            RowError: The value cannot be used.
        """

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """What a value of this target slot will look like when it is generated.

        Raises:
            RowError: The row lacks what is needed to know, such as a length column.
        """

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> Any:
        """The value that a hypothesis stands for, in the caller's units (undoing what the row transform did)."""

    def render(self, value: Any, ctx: RowContext | None = None) -> str:
        """HTML fragment that shows a value to a person; self-contained (pictures as data URIs), escaped."""


@runtime_checkable
class ColumnFitting(Protocol):
    """What a `Preprocessor` may offer besides, where it must know which values belong together."""

    def fit_columns(self, values: Iterable[tuple[str, str, Any]], rng: np.random.Generator) -> Artifact | None:
        """In place of `Preprocessor.fit`: values as (task, column, value), those of one task together."""


@runtime_checkable
class SlotFitting(Protocol):
    """What a `Preprocessor` may offer besides, where what it learns depends on attributes, such as a unit."""

    def fit_slots(self, values: Iterable[tuple[SlotPlan, Any]], rng: np.random.Generator) -> Artifact | None:
        """In place of `Preprocessor.fit`: values of columns with the slot that reads them, its attributes included.

        Where several slots of a task read one column, the first.
        """


@runtime_checkable
class JointRenderer(Protocol):
    """What a `Preprocessor` may offer besides, where the values of a repeated slot are best seen together."""

    def render_all(self, values: Sequence[Any], ctx: RowContext | None = None) -> str:
        """One HTML fragment for all values, as `Preprocessor.render` makes one for each."""


@runtime_checkable
class AsDecoded(Protocol):
    """What a `Preprocessor` may offer besides, so that references are taken as its slot takes them.

    Answers are compared with references: by metrics, rewards, reports. Without this a reference is what `decode` makes
    of what `encode` made of it. That is right where nothing is lost in between but what the slot's attributes ask for;
    a type that loses more (bins, codes of pictures) says here what an answer is to be judged by.
    """

    def as_decoded(self, value: Any, slot: SlotPlan, ctx: RowContext) -> Any:
        """The value as `decode` would give a faultless answer: in the slot's form, case, rate, unit; nothing rounded.

        A value that is one of the type, but that this slot cannot express (outside of its closed set), stays as it is:
        it counts, and no answer meets it. ``ctx.split`` is ``test``, so nothing is drawn at random.

        Raises:
            RowError: This is no value of the type. A list is then taken as several values.
        """


@runtime_checkable
class AsCompared(Protocol):
    """What a `Preprocessor` may offer besides, where the same value looks different from slot to slot.

    Metrics know no slots. So they get answers and references in one form, whatever the slot's attributes say: boxes as
    corners, though the slot writes centre and size. Without this they get decoded values as they are.
    """

    def as_compared(self, value: Any, slot: SlotPlan, ctx: RowContext) -> Any:
        """What metrics compare in place of a decoded value, or of what `AsDecoded` gives."""


@runtime_checkable
class ForeignTokens(Protocol):
    """What a `Preprocessor` with tokens may offer besides, so that models of other projects can be imported with it.

    Other projects keep all tokens in one dictionary. Ours stand in blocks, so every token is found there by name, never
    by its place.
    """

    def import_files(self, folder: Path, names: Sequence[str]) -> Artifact | None:
        """What `Preprocessor.fit` would have made, from what another project left; None if nothing is needed.

        Args:
            folder: Where its vocabulary files are, such as ``vocab.json`` and ``merges.txt``.
            names: Every name of the model's dictionary, in its order; empty for core tokens and rows without a name.

        Raises:
            PluginError: Files are needed and not there, or damaged; names what was found and what was expected.
        """

    def foreign_names(self, artifact: Artifact | None) -> Mapping[str, Sequence[tuple[str, ...]]]:
        """Block name -> for each of its tokens, in order, the names that dictionaries of other projects have for it.

        An empty tuple: no other project has such a token.
        """


@runtime_checkable
class ForeignSettings(Protocol):
    """What a `Preprocessor` may offer besides: its options, from the settings that it has in another project.

    A class attribute ``foreign_fixed``, setting -> value, may say what always has one value here. An import tells of
    every setting that was neither asked for nor has that value.
    """

    @staticmethod
    def foreign_settings(settings: Mapping[str, Any]) -> Options:
        """Options that the settings of another project's preprocessor of the same name mean.

        Raises:
            TypeError, ValueError: A setting has an impossible value.
        """


class RowTransform(Protocol):
    """Changes several columns of a row together before groups expand. Built as ``cls(options)``."""

    def __call__(self, row: dict[str, Any], slots: Sequence[SlotPlan], ctx: RowContext) -> dict[str, Any]:
        """The new row; ``slots`` are those of this modality. Publishes what decoding needs in ``ctx.published``."""


class Corruption(Protocol):
    """Makes a training target from a clean one: diffusion, flow, masked prediction. Built as ``cls(options)``."""

    def __call__(self, segment: DenseSegment, rng: np.random.Generator) -> DenseSegment:
        """Segment with corrupted ``features`` (noise level included), ``labels``, and clean ``context``."""


@dataclass
class BuildContext:
    """What an adapter or head gets when the model is built; a criterion gets its options alone."""

    hidden: int
    options: Options
    vocabulary: Vocabulary
    embedding: Any
    """The shared token embedding: ``embedding(ids [n]) -> [n, H]``; ``embedding.output(blocks) -> (weight [v, H], ids
    [v])``: the projection on some blocks and the core tokens; ``embedding.output_bias(ids [v]) -> [v] | None``."""
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    """Preprocessor name -> its artifact."""
    heads: int = 4
    """Attention heads of the model, for towers that follow its shape."""


@dataclass(frozen=True)
class PositionGrid:
    """Where cells of an adapter stand in tables of learned positions, for schemes that have such tables.

    A cell at (y, x) within its segment has row ``1 + y * columns + x`` of the absolute table; row 0 is the class
    token's. With ``class_token`` that token stands at (0, 0) and cells count from (1, 1).
    """

    rows: int
    columns: int
    class_token: bool = False
    relative: bool = True
    """There is a bias for each pair of distances (y, x) between two cells, up to a whole grid."""


@runtime_checkable
class Upgradable(Protocol):
    """What a component with parameters may offer besides, so that models of older versions go on working.

    For adapters, heads, criteria, positions and backbones. It is called when a model is loaded, or a run goes on, that
    another version of the component's distribution has written. Options that are stored keep their names.
    """

    @staticmethod
    def upgrade_state(state: Mapping[str, Tensor], version: str) -> Mapping[str, Tensor]:
        """The component's parameters by the names that they have today.

        A tensor that is passed on as it is keeps what the optimiser knows of it; one that is made anew starts afresh.

        Args:
            state: Name below the component -> tensor, as they were stored.
            version: Of the distribution that wrote them.
        """


class Adapter(Protocol):
    """An ``nn.Module`` that embeds features. Built as ``cls(context: BuildContext)``.

    It may declare ``axes = 1``, positions on a line with three equal coordinates, and ``grid``, a `PositionGrid`; and
    ``collective = True`` where it takes part in communication by its options, as its manifest would say of all. A
    static method ``stored_options(options) -> options`` says what a checkpoint keeps of its options, where some of
    them name files that nobody needs once the weights are stored.
    """

    @staticmethod
    def length(shape: tuple[int, ...], options: Options) -> int:
        """Number of positions that a segment of this shape becomes. Pure."""

    @staticmethod
    def coordinates(shape: tuple[int, ...], options: Options) -> np.ndarray:
        """int64 [length, 3]: (t, y, x) from 0. Pure."""

    def embed(self, features: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        """States [sum of lengths, H] of all segments, in order. Never called with none."""


@runtime_checkable
class ForeignAdapter(Protocol):
    """What an `Adapter` may offer besides, so that models of other projects can be imported with it.

    With the options that it gives, its parameters have the names that they have there, behind the adapter's.
    """

    @staticmethod
    def foreign_options(shapes: Mapping[str, tuple[int, ...]], settings: Mapping[str, Any]) -> Options:
        """Options, from the shapes of the adapter's tensors in the other project and its settings there."""


@dataclass(frozen=True)
class HeadContext:
    """What a head knows of the states it gets."""

    lengths: tuple[int, ...]
    """Positions of each item; they are concatenated in order."""
    blocks: tuple[str, ...] = ()


class Head(Protocol):
    """An ``nn.Module`` from states to a prediction. Built as ``cls(context: BuildContext)``.

    ``positionwise``: gets the positions with loss alone; otherwise whole items, in order.
    """

    positionwise: ClassVar[bool]

    def __call__(self, hidden: Tensor, ctx: HeadContext) -> Any:
        """Prediction for states [m, H]; any object that its criteria and generators understand."""


@dataclass(frozen=True)
class Loss:
    """Per-item losses; the core weighs and sums them, so that any split of a step gives the same gradient."""

    values: Tensor
    """fp32 [items]: the SUM over each item's counted units."""
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    """fp32 [items] each: for reports only, detached."""


@dataclass(frozen=True)
class CriterionContext:
    """What a criterion knows of the items it gets."""

    lengths: tuple[int, ...]
    label_lengths: Mapping[str, tuple[int, ...]]
    attention: Sequence[Sequence[Tensor]] | None = None
    """For ``needs = {"attention"}``: for each layer of `AttentionCriterion.attention_layers`, and for each item, how
    much its positions read of the positions of its own source: [heads, positions, source positions]."""


class Criterion(Protocol):
    """Built as ``cls(options)``; an ``nn.Module`` if it owns parameters.

    ``scope``: ``position`` or ``segment`` (a micro-batch suffices), ``step`` (sees all items of the step at once).
    ``needs``: empty, or ``attention``, or ``rollout``.
    """

    scope: ClassVar[Literal["position", "segment", "step"]]
    needs: ClassVar[frozenset[str]]
    batch_coupled: ClassVar[bool]

    def count(self, labels: Mapping[str, np.ndarray]) -> int:
        """Units of loss of one item, from its labels alone."""

    def __call__(self, prediction: Any, labels: Mapping[str, Tensor], ctx: CriterionContext) -> Loss:
        """Losses of all items."""


class AttentionCriterion(Protocol):
    """What a `Criterion` with ``needs = {"attention"}`` may offer besides; without it the last layer is meant."""

    attention_layers: Sequence[int]
    """Decoder layers whose cross-attention it gets, from 0; -1 is the last. May depend on its options."""


class DecodeSession(Protocol):
    """Incremental decoding over R rows. Generators are written against this and nothing else.

    ``pending`` int64 [R] holds the next input token of a running token run; None where a run begins: there
    `ofacore.parts.begin_run` gives it. An attribute ``room`` may say how many tokens may follow what the next step
    feeds before the model tells positions no more apart; None or absent: any number.
    """

    pending: Tensor | None

    @property
    def rows(self) -> int:
        """Number of rows R."""

    @property
    def device(self) -> torch.device:
        """Where tensors belong."""

    @property
    def length(self) -> int:
        """Positions appended so far, the same number for every row (some may be marked invalid)."""

    @property
    def unconditional(self) -> DecodeSession | None:
        """The same rows with the prompt dropped, where guidance was asked for."""

    def step(self, features: Mapping[str, Tensor], adapter: str, valid: Tensor | None = None) -> Tensor:
        """Append positions that later ones see; features [R * n, ...] row-major. Returns hidden [R, n, H].

        ``valid`` bool [R, n] marks real positions (left-aligned); others leave no trace.
        """

    def denoise(self, features: Mapping[str, Tensor], adapter: str, shapes: Sequence[tuple[int, ...]]) -> Tensor:
        """Hidden states [sum of lengths, H] of one bidirectional segment for each row, that leaves no trace."""

    def commit(self, features: Mapping[str, Tensor], adapter: str, shapes: Sequence[tuple[int, ...]]) -> None:
        """Append one finished bidirectional segment for each row, that later ones see."""

    def source(self) -> tuple[Tensor, tuple[int, ...]]:
        """Encoder output [sum of lengths, H] of the first segment of each row's source, row by row, and the lengths."""

    def predict(self, head: str, hidden: Tensor, ctx: HeadContext) -> Any:
        """Apply a head of the model to hidden states [m, H]."""

    def reorder(self, rows: Tensor) -> None:
        """Keep rows by index int64 [R']; an index may occur several times (beams) or not at all."""

    def begin_segment(self) -> None:
        """Called by the core where another slot begins."""

    def fork(self) -> DecodeSession:
        """An independent session in the same state: what one does afterwards leaves the other alone."""


@dataclass(frozen=True)
class RowRequest:
    """What a generator is asked for, for one row of the session."""

    slot: SlotPlan
    ctx: RowContext
    spec: TargetSpec
    last: bool = True
    """Last of its run: an open slot ends with ``<eos>``, otherwise with ``<sep>``."""
    final: bool = True
    """Nothing follows in this row: the session may be left in any state."""
    required: tuple[np.ndarray, ...] = ()
    """int64 ids of phrases that the value must contain."""


class Generator(Protocol):
    """Produces the values of one target slot for all rows of a session. Built as ``cls(options)``."""

    def __call__(
        self, session: DecodeSession, requests: Sequence[RowRequest], options: GenerationOptions,
        generator: torch.Generator,
    ) -> list[Produced]:  # fmt: skip
        """Candidates for each row, best first; leaves the session behind the best candidate unless ``final``."""


@dataclass(frozen=True)
class GenerationOptions:
    """How target slots are generated. Unset means the default of the task, then of the slot's generator."""

    strategy: Literal["greedy", "beam", "diverse_beam", "diverse_siblings", "sample"] = "greedy"
    beam: int = 5
    groups: int = 1
    diversity: float = 0.5
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    length_penalty: float = 1.0
    unk_penalty: float = 0.0
    min_length: int = 0
    max_length: int = 256
    no_repeat_ngram: int = 0
    early_stopping: bool = True
    forced_end: Literal["scored", "free", "none"] = "scored"
    core_tokens: bool = False
    pad_tokens: bool = True
    n_best: int = 1
    must_contain: tuple[str, ...] = ()
    max_turns: int = 30
    scheduler: str = "ddim"
    steps: int = 50
    guidance: float = 1.0
    seed: int = 0
    repetition_penalty: float = 1.0
    banned_tokens: tuple[tuple[int, ...], ...] = ()
    exhaustive: bool = False


class Metric(Protocol):
    """Built as ``cls(options)``. Mergeable: ``merge`` of parts equals one pass over everything.

    Predictions are decoded values, unless the class has an attribute ``needs``: with ``log_probs`` they are the
    log-probabilities of the tokens of each reference; with ``candidates`` the log-probability of each value in the
    list that the row's column holds whose name the instance has as ``candidates``; with ``embeddings``, on one side of
    a contrast, the vectors of that side, float32 [size], and references are those of the other side.

    References, candidates and the columns of target slots in ``rows`` come as their slots take them, never raw (see
    `AsDecoded`, `AsCompared`); a reference is a list where the row gives several, of which any will do. Rows without
    one are not given. An instance may name another column of references by ``reference_column``.
    """

    higher_is_better: ClassVar[bool]

    def update(self, predictions: Sequence[Any], references: Sequence[Any], rows: Sequence[Mapping[str, Any]]) -> None:
        """Add decoded predictions and their references.

        ``rows`` hold all columns, and what was generated for other target slots as ``predicted:<slot>``. A row whose
        reference makes this raise, whatever is predicted, is left out and named.
        """

    def compute(self) -> dict[str, float]:
        """Name -> value; the first name is the score."""

    def merge(self, other: Any) -> None:
        """Add what another instance has seen."""

    def items(self) -> Sequence[float]:
        """One number per sample, for bootstrap intervals; empty where the metric does not decompose."""


@dataclass(frozen=True)
class TaskShare:
    """What a schedule knows of a task."""

    rows: int
    weight: float = 1.0


@dataclass(frozen=True)
class ScheduleContext:
    """What a schedule knows of the run."""

    steps: int
    """Steps that the run takes in all; a run that goes on may have more than it began with."""


class Schedule(Protocol):
    """Built as ``cls(tasks: Mapping[str, TaskShare], samples: int, seed: int, options)``. Pure in (seed, step).

    A class whose constructor has a parameter ``context`` gets a `ScheduleContext` by that name.
    """

    def counts(self, step: int) -> dict[str, int]:
        """Samples of each task in a step; tasks with none may be left out."""


@dataclass(frozen=True)
class AggregatorContext:
    """What an aggregator knows of the step."""

    step: int
    """Counted from 0."""
    rng: np.random.Generator
    """Seeded by (run seed, step), the same on every process: its only source of randomness."""
    parameters: Mapping[str, Tensor]
    """Name -> values of every trained parameter, not to be changed."""


class Aggregator(Protocol):
    """Makes the gradient of a step from those of its tasks. Built as ``cls(options)``.

    Each task of a micro-batch then costs a backward pass, and each task of a step an fp32 gradient of the model. A
    class whose attribute ``plain_sum`` is True means the sum: that costs nothing more, and it is never called.

    One that learns has ``state() -> Mapping``, JSON-ready, and ``load_state(state)``: checkpoints keep that.
    """

    def __call__(
        self,
        losses: Mapping[str, float],
        gradients: Mapping[str, Mapping[str, Tensor]],
        ctx: AggregatorContext,
    ) -> Mapping[str, Tensor]:
        """The gradient to update with.

        Args:
            losses: Task -> its share of the step's total loss, weighed, over all micro-batches and processes.
            gradients: Task -> name of a parameter -> fp32 gradient of that share, of the parameter's shape; without
                parameters that the task has no part in. They may be changed.
            ctx: The step, random numbers and parameters.

        Returns:
            Name of a parameter -> its gradient. A parameter that is left out is not updated. What belongs to no task
            (the balance of routers) is added by the core.
        """


class Router(Protocol):
    """Chooses feed-forward experts. Built as ``cls(options)``: its own, with ``names`` and ``number`` of the experts.

    A router of a plugin has no parameters and chooses one expert for each position, once for all layers, from the
    layout alone; while a target is produced, ``segment``, ``causal`` and ``visible`` are zeros.
    """

    def __call__(self, layout: Layout, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(experts int64 [N, k], gates [N, k])."""


@dataclass(frozen=True)
class Record:
    """One line of metrics."""

    step: int
    values: Mapping[str, float]
    """``split/task/metric`` -> value."""


class Tracker(Protocol):
    """Receives metrics: TensorBoard, JSONL, a web service. Built as ``cls(folder, options)``."""

    def log(self, record: Record) -> None:
        """Write one record."""

    def close(self) -> None:
        """Flush and release."""


class Backbone(Protocol):
    """The transformer between adapters and heads, an ``nn.Module``. Built as ``cls(config, context)``."""

    def encode(self, states: Tensor, layout: Layout) -> Tensor:
        """Source states [N, H] -> hidden [N, H]."""

    def decode(self, states: Tensor, layout: Layout, memory: Tensor | None, source: Layout | None) -> Tensor:
        """Target states [M, H] -> hidden [M, H], reading encoder output [N, H]."""


ModuleFactory = Callable[[BuildContext], "nn.Module"]
