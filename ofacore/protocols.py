"""The contract: what a plugin implements, and the data that travels between the rooms of the core.

Nothing here imports torch; tensors appear in annotations only. `Artifact`, `Vocabulary`, `Block` and the ids of the
core tokens are public through this module too. One sample's way through these types::

    row --Preprocessor.encode--> TokenSegment | DenseSegment --runs--> Piece --collate--> Batch
        --Adapter.embed--> states [N, H] --backbone--> hidden --Head--> prediction --Criterion--> Loss

States of a micro-batch are one flat stream ``[N, H]``: N is the number of real positions of all samples, so no linear
layer ever sees padding. Attention works on ``Layout.rows``, index matrices into that stream.
"""

from __future__ import annotations

import warnings
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    Protocol,
    TypeVar,
    cast,
    runtime_checkable,
)

import numpy as np

from ofacore.ground.artifacts import Artifact
from ofacore.ground.excerpts import excerpt, listing
from ofacore.ground.vocabulary import BOS, EOS, MASK, PAD, SEP, UNK, Block, Vocabulary
from ofacore.plugin.blame import Blame
from ofacore.plugin.manifest import Side
from ofacore.plugin.plugin_errors import PluginError

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
    "AddedPositions",
    "Aggregator",
    "AggregatorContext",
    "Artifact",
    "AsCompared",
    "AsDecoded",
    "AttentionBackbone",
    "AttentionCriterion",
    "AttentionPlace",
    "Backbone",
    "BackboneConfig",
    "BackboneContext",
    "Batch",
    "BatchSide",
    "Block",
    "BuildContext",
    "BuiltOnOthers",
    "CachedBackbone",
    "CollectiveBackbone",
    "ColumnFitting",
    "Corruption",
    "Criterion",
    "CriterionContext",
    "DecodeCache",
    "DecodeSession",
    "DenseSegment",
    "Example",
    "ExpertBackbone",
    "FileWriting",
    "ForeignConstants",
    "Generator",
    "Head",
    "HeadContext",
    "Hypothesis",
    "JointRenderer",
    "Layout",
    "Loss",
    "MeasureRow",
    "Metric",
    "ModuleFactory",
    "Neighbour",
    "Neighbours",
    "Options",
    "Piece",
    "PositionGrid",
    "PositionView",
    "Positions",
    "PositionsContext",
    "PositionsCost",
    "PositionsWeight",
    "Preprocessor",
    "Produced",
    "Published",
    "Record",
    "RequestCheck",
    "RelativeBias",
    "Router",
    "Routes",
    "RowContext",
    "RowError",
    "RowLengths",
    "RowRequest",
    "RowTransform",
    "SampleInfo",
    "Schedule",
    "ScheduleContext",
    "Segment",
    "ShardedBackbone",
    "Side",
    "SlotFitting",
    "SlotPlan",
    "Split",
    "Stack",
    "StagedBackbone",
    "TargetSpec",
    "TaskShare",
    "TermGroup",
    "TermItem",
    "TokenSegment",
    "Tracker",
    "Upgradable",
    "Vocabulary",
    "WholeRowTransform",
    "excerpt",
    "listing",
    "seen_as",
]

Split = Literal["train", "valid", "test", "infer"]
Options = Mapping[str, Any]


class RowError(ValueError):
    """A value that cannot be used: names the column, what is wrong, and what would be right.

    Core code adds the task and the row number. A preprocessor raises it for bad values and nothing else.
    """


ProtocolT = TypeVar("ProtocolT")
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def seen_as(protocol: type[ProtocolT], built: Any) -> ProtocolT:
    """A component, or its class, through its protocol: members that it does not have are those of the protocol.

    So a member that a component may leave out stands in its protocol with its default, and is read in one way.
    """
    return cast(ProtocolT, _Seen(protocol, built))


def optional(method: FunctionT) -> FunctionT:
    """Marks a method of a protocol that a component may leave out: then it has the protocol's own."""
    method.__optional__ = True  # type: ignore[attr-defined]
    return method


class _Seen:
    """A component with the defaults of its protocol."""

    __slots__ = ("_built", "_protocol")

    def __init__(self, protocol: type, built: Any) -> None:
        self._protocol, self._built = protocol, built

    def __getattr__(self, name: str) -> Any:
        if hasattr(self._built, name):
            return getattr(self._built, name)
        default = getattr(self._protocol, name)
        return default.__get__(self._built) if isinstance(default, property) else default


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

PublishedT = TypeVar("PublishedT")


class Published(MutableMapping[str, Any]):
    """What the slots of one row tell one another, such as how a value was cut: objects of documented types.

    A preprocessor or row transform publishes an instance of a frozen dataclass under the name of its slot; whoever
    knows the dataclass asks for it. Types that several plugins know live where all of them can import them:
    `ofacore.parts.PlaneView` says what the model sees of a value that lies on a plane.

    Example:
        >>> @dataclass(frozen=True)
        ... class Rate:
        ...     hertz: float
        >>> published = Published()
        >>> published.put("sound", Rate(50.0))
        >>> published.one("sound", Rate).hertz
        50.0

    The use as a dict, slot name -> anything, is deprecated. A dict that is published that way is found by every type
    whose fields are among its keys.
    """

    def __init__(self, given: Mapping[str, Any] | None = None) -> None:
        self._typed: dict[str, dict[type, tuple[Any, ...]]] = {}
        self._plain: dict[str, Any] = {}
        for slot, value in (given or {}).items():
            self[slot] = value

    def put(self, slot: str, *values: Any) -> None:
        """Publish a value; one for each element where the slot's column is a list. It replaces those of its type.

        Raises:
            TypeError: A value is no instance of a frozen dataclass, or they are of several types.
        """
        kinds = {type(value) for value in values}
        for kind in kinds:
            frozen = is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
            if not frozen:
                remedy = "make it a frozen dataclass with documented fields"
                raise TypeError(f"slot '{slot}' publishes a {kind.__name__}: {remedy}")
        if len(kinds) > 1:
            names = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise TypeError(f"slot '{slot}' publishes {names} together: publish one type at a time")
        for kind in kinds:
            self._typed.setdefault(slot, {})[kind] = values

    def all(self, slot: str, kind: type[PublishedT]) -> tuple[PublishedT, ...]:
        """Everything of a type that a slot published, in order; empty where it published none."""
        for values in self._typed.get(slot, {}).values():
            if isinstance(values[0], kind):
                return values
        return tuple(_as_kind(self._plain.get(slot), kind))

    def find(self, slot: str, kind: type[PublishedT]) -> PublishedT | None:
        """The one object of a type that a slot published; None where it published none or several."""
        found = self.all(slot, kind)
        return found[0] if len(found) == 1 else None

    def one(self, slot: str, kind: type[PublishedT]) -> PublishedT:
        """The one object of a type that a slot published.

        Raises:
            RowError: It published none, or several; tells what there is.
        """
        found = self.all(slot, kind)
        if len(found) == 1:
            return found[0]
        if found:
            raise RowError(
                f"slot '{slot}' publishes {len(found)} times {kind.__name__}, where one is needed"
            )
        raise RowError(f"slot '{slot}' publishes no {kind.__name__}; in this row {self._told()}")

    def of(self, kind: type[PublishedT]) -> dict[str, tuple[PublishedT, ...]]:
        """Slot -> everything of a type that it published, for slots that did; in the order in which they did."""
        found = {slot: self.all(slot, kind) for slot in dict.fromkeys([*self._typed, *self._plain])}
        return {slot: values for slot, values in found.items() if values}

    def copy(self) -> Published:
        """The same; what is published in it leaves no trace here."""
        twin = Published()
        twin._typed = {slot: dict(kinds) for slot, kinds in self._typed.items()}
        twin._plain = dict(self._plain)
        return twin

    def _told(self) -> str:
        told = []
        for slot, kinds in self._typed.items():
            told.append(f"'{slot}' publishes {', '.join(kind.__name__ for kind in kinds)}")
        told += [
            f"'{slot}' publishes a {type(value).__name__}" for slot, value in self._plain.items()
        ]
        return "; ".join(told) or "no slot publishes anything"

    def __getitem__(self, slot: str) -> Any:
        _warn_of_dict()
        if slot in self._plain:
            return self._plain[slot]
        for values in self._typed[slot].values():
            shown = [
                {field.name: getattr(value, field.name) for field in fields(value)}
                for value in values
            ]
            return shown[0] if len(shown) == 1 else shown
        raise KeyError(slot)

    def __setitem__(self, slot: str, value: Any) -> None:
        if is_dataclass(type(value)):
            self.put(slot, value)
            return
        _warn_of_dict()
        self._plain[slot] = value

    def __contains__(self, slot: object) -> bool:
        return slot in self._typed or slot in self._plain

    def __delitem__(self, slot: str) -> None:
        self._plain.pop(slot, None)
        self._typed.pop(slot, None)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._typed, *self._plain]))

    def __len__(self) -> int:
        return len(self._typed.keys() | self._plain.keys())


def _as_kind(value: Any, kind: type[PublishedT]) -> Iterator[PublishedT]:
    """Objects of a type, from what was published as a dict or a list of dicts."""
    if isinstance(value, list | tuple):
        for part in value:
            yield from _as_kind(part, kind)
    elif isinstance(value, kind):
        yield value
    elif isinstance(value, Mapping) and is_dataclass(kind):
        known = fields(kind)
        needed = {
            entry.name
            for entry in known
            if entry.default is MISSING and entry.default_factory is MISSING
        }
        if needed <= value.keys():
            yield kind(**{entry.name: value[entry.name] for entry in known if entry.name in value})


def _warn_of_dict() -> None:
    """The use of `Published` as a dict goes with the next major contract."""
    told = "published as a dict is deprecated: ctx.published.put(slot, value) and ctx.published.one(slot, Type)"
    warnings.warn(told, DeprecationWarning, stacklevel=3)


@dataclass
class RowContext:
    """What surrounds one value while its row is encoded; kept for decoding, metrics and pictures."""

    row: Mapping[str, Any]
    task: str
    split: Split
    rng: np.random.Generator
    """Seeded by (run seed, task, epoch, item): the only source of randomness for this row."""
    published: Published = field(default_factory=Published)
    """What preprocessors and row transforms of this row tell one another."""
    closed_sets: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Slot name -> allowed values, for slots with ``closed_set``."""
    options: Mapping[str, Options] = field(default_factory=dict)
    """Preprocessor -> its options as the model has them, for row transforms: these are built once, of its type."""

    def __post_init__(self) -> None:
        if not isinstance(self.published, Published):
            self.published = Published(self.published)


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
    coordinates: np.ndarray | None = None
    """int64 [n, 3], from 0: (t, y, x) of each token, such as the cells of a picture; None: running positions.

    They count from where the run stands; whatever comes behind goes on behind the largest. In a target a token's
    coordinates are those of the position that predicts it."""


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
    blocks: tuple[str, ...] = ()
    """Vocabulary blocks that its labels come from, where these are tokens: what `TokenSegment.blocks` is to tokens."""


Segment = TokenSegment | DenseSegment


@dataclass(frozen=True)
class TargetSpec:
    """What a target value that is to be generated will look like."""

    blocks: tuple[str, ...] = ()
    """Vocabulary blocks of its tokens, or of the labels of a dense segment; empty: it has neither."""
    open: bool = True
    """It ends by itself, with ``<eos>`` or ``<sep>``."""
    length: int | None = None
    """Number of tokens or positions, where known."""
    closed_set: tuple[np.ndarray, ...] = ()
    """int64 ids of every allowed value, without boundaries; empty: anything."""
    coordinates: np.ndarray | None = None
    """int64 [length, 3] of the tokens, as `TokenSegment.coordinates` will have them; None: running positions."""
    shift: bool = True
    """False: its positions are predicted at their own places, not one token after the other in a run: masked tokens
    (`TokenSegment.shift` is False) and dense segments with ``blocks``."""

    @property
    def in_run(self) -> bool:
        """It is a value of tokens that belongs to a run of them."""
        return bool(self.blocks) and self.shift


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


@dataclass(frozen=True)
class Neighbour:
    """A preprocessor of the same model as another one reaches it, fitted and bound.

    Its slot is the other's slot with the attributes of its own type: the defaults, and those that a call names.
    """

    name: str
    preprocessor: Preprocessor
    blocks: tuple[str, ...]
    """Vocabulary blocks that its tokens come from."""
    defaults: Mapping[Side, Options] = field(default_factory=dict)
    """Side -> attributes of the slot type that it serves by default."""
    owner: str = ""
    """Whose it is, for messages."""

    def slot(self, slot: SlotPlan, **attributes: Any) -> SlotPlan:
        """The slot as this preprocessor gets it."""
        given = {**self.defaults.get(slot.side, {}), **attributes}
        return replace(slot, preprocessor=self.name, attributes=given)

    def encode(
        self, value: Any, slot: SlotPlan, ctx: RowContext, **attributes: Any
    ) -> list[Segment]:
        """What it makes of a value.

        Raises:
            RowError: The value cannot be used.
        """
        with Blame(self.owner, f"encode, slot '{slot.name}'"):
            return self.preprocessor.encode(value, self.slot(slot, **attributes), ctx)

    def tokens(self, value: Any, slot: SlotPlan, ctx: RowContext, **attributes: Any) -> np.ndarray:
        """Ids int64 [n] of a value, without boundaries.

        Raises:
            RowError: The value cannot be used, or does not become tokens.
        """
        parts = []
        for segment in self.encode(value, slot, ctx, **attributes):
            if not isinstance(segment, TokenSegment):
                raise RowError(
                    f"column '{slot.name}': preprocessor '{self.name}' makes no tokens of {excerpt(value)}"
                )
            parts.append(segment.ids)
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def decode(
        self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext, **attributes: Any
    ) -> Any:
        """The value that a hypothesis of its tokens stands for."""
        with Blame(self.owner, f"decode, slot '{slot.name}'"):
            return self.preprocessor.decode(hypothesis, self.slot(slot, **attributes), ctx)


@dataclass(frozen=True)
class Neighbours:
    """The preprocessors that one builds on, by name: those of ``builds_on`` of its component."""

    owner: str
    """Whose they are, for messages."""
    known: Mapping[str, Neighbour] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Neighbour:
        """The neighbour of that name.

        Raises:
            PluginError: The component does not name it.
        """
        if name not in self.known:
            there = f"it names {listing(self.known)}" if self.known else "it names none"
            raise PluginError(
                f"{self.owner} reaches the preprocessor '{name}' without naming it: {there}; write "
                f"builds_on=('{name}',) in its Component, so that '{name}' is fitted and stored with the model"
            )
        return self.known[name]


@runtime_checkable
class BuiltOnOthers(Protocol):
    """What a `Preprocessor` offers that writes its values with the tokens of others: a table as text.

    Its component names them in ``builds_on``. They share its model and its vocabulary, and need no slot of their own.
    """

    def bind_with(
        self, vocabulary: Vocabulary, artifact: Artifact | None, others: Neighbours
    ) -> None:
        """In place of `Preprocessor.bind`: ``others["text"]`` is the preprocessor ``text``, fitted and bound."""

    def handed_on(self, name: str, value: Any, slot: SlotPlan) -> Iterable[Any]:
        """Values that the encoding of this value gives to another: that one is fitted on them too.

        Called before anything is fitted or bound. May raise a `RowError`, which leaves the value out.
        """


@runtime_checkable
class ColumnFitting(Protocol):
    """What a `Preprocessor` may offer besides, where it must know which values belong together."""

    def fit_columns(
        self, values: Iterable[tuple[str, str, Any]], rng: np.random.Generator
    ) -> Artifact | None:
        """In place of `Preprocessor.fit`: values as (task, column, value), those of one task together."""


@runtime_checkable
class SlotFitting(Protocol):
    """What a `Preprocessor` may offer besides, where what it learns depends on attributes, such as a unit."""

    def fit_slots(
        self, values: Iterable[tuple[SlotPlan, Any]], rng: np.random.Generator
    ) -> Artifact | None:
        """In place of `Preprocessor.fit`: values with the slot that reads them, its attributes included.

        Where several slots of a task read one column, the first; plain text comes with its own (`SlotPlan.plain`).
        """


@runtime_checkable
class FileWriting(Protocol):
    """What a `Preprocessor` may offer besides, so that its values can be written to files: `Output.save`."""

    def save(self, value: Any, ctx: RowContext | None, path: Path) -> None:
        """Write a value in the form that the file's ending asks for.

        Raises:
            ValueError: The ending is that of another kind of file; tells which there are.
            OSError: The file cannot be written.
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

    An import tells of every setting that was neither asked for nor is one of `ForeignConstants`.
    """

    @staticmethod
    def foreign_settings(settings: Mapping[str, Any]) -> Options:
        """Options that the settings of another project's preprocessor of the same name mean.

        Raises:
            TypeError, ValueError: A setting has an impossible value.
        """


class ForeignConstants(Protocol):
    """What a `Preprocessor` may offer besides: settings of another project that always have one value here."""

    foreign_fixed: Mapping[str, Any] = {}
    """Setting -> value."""


class RowTransform(Protocol):
    """Changes several columns of a row together before groups expand. Built as ``cls(options)``."""

    def __call__(
        self, row: dict[str, Any], slots: Sequence[SlotPlan], ctx: RowContext
    ) -> dict[str, Any]:
        """The new row; ``slots`` are those of this modality. Publishes what others need in ``ctx.published``."""


@dataclass(frozen=True)
class RowLengths:
    """How many positions a row takes when it is encoded."""

    slots: Mapping[str, int]
    """Slot -> positions of its value, of all turns of a repeat together; slots without a value have 0."""
    source: int
    """Of the whole source: slots, plain text, boundaries."""
    target: int
    """As ``source``; at inference only of what is given."""

    @property
    def total(self) -> int:
        """Source and target together."""
        return self.source + self.target


MeasureRow = Callable[[Mapping[str, Any]], RowLengths]


class WholeRowTransform(Protocol):
    """Changes the rows of a task, all slots together: a component of the kind ``row_transform`` that a task names.

    Built as ``cls(options)``; a function takes its options as keywords. It comes behind the transforms of columns and
    those of modalities, in training and at inference alike; ``ctx.split`` tells which. What it does at random it draws
    from ``ctx.rng``.
    """

    def __call__(
        self, row: dict[str, Any], slots: Sequence[SlotPlan], ctx: RowContext, measure: MeasureRow
    ) -> dict[str, Any]:
        """The new row.

        Args:
            row: Column or slot name -> value.
            slots: All slots of the template.
            ctx: What surrounds the row.
            measure: Gives the lengths that a row would have, this one or a changed one; it encodes that row.

        Raises:
            RowError: The row cannot be used.
        """


class Corruption(Protocol):
    """Makes a training target from a clean one: diffusion, flow, masked prediction. Built as ``cls(options)``.

    With an attribute ``shift = False`` it says that tokens are predicted at their own places, whatever the slot's
    preprocessor expects: generation then asks for them that way too.
    """

    def __call__(self, segment: Segment, rng: np.random.Generator) -> Segment:
        """What is trained on in place of one clean segment, which stays as it is.

        Of a dense segment: corrupted ``features`` (noise level included), ``labels``, and clean ``context``. Of tokens:
        ``inputs`` to read in place of ``ids``, ``weights`` for the positions that count, and ``shift=False`` where they
        are predicted at their own places. Everything is drawn from ``rng``.
        """


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

    ``axes``, ``grid``, ``collective`` and ``stored_options`` may be left out.
    """

    axes: int = 3
    """1: its positions lie on a line, their three coordinates are equal. 3: they differ."""
    grid: PositionGrid | None = None
    """Where its cells stand in tables of learned positions; None: they stand in none."""
    collective: bool = False
    """It takes part in communication, by the options that it has; the manifest may say so of all of them."""

    @staticmethod
    @optional
    def stored_options(options: Options) -> Options:
        """What a checkpoint keeps of its options: not the files that nobody needs once the weights are stored."""
        return options

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
    def foreign_options(
        shapes: Mapping[str, tuple[int, ...]], settings: Mapping[str, Any]
    ) -> Options:
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

    def __call__(
        self, prediction: Any, labels: Mapping[str, Tensor], ctx: CriterionContext
    ) -> Loss:
        """Losses of all items."""


class AttentionCriterion(Protocol):
    """What a `Criterion` with ``needs = {"attention"}`` may offer besides."""

    attention_layers: Sequence[int] = (-1,)
    """Decoder layers whose cross-attention it gets, from 0; -1 is the last. May depend on its options."""


class DecodeSession(Protocol):
    """Incremental decoding over R rows. Generators are written against this and nothing else.

    ``pending`` int64 [R] holds the next input token of a running token run; None where a run begins: there
    `ofacore.parts.begin_run` gives it. ``start_ids`` and ``room`` may be left out.
    """

    pending: Tensor | None

    @property
    def start_ids(self) -> tuple[int, ...]:
        """Tokens that a run of tokens begins with, in order."""
        return (BOS,)

    @property
    def room(self) -> int | None:
        """Tokens that may follow what the next step feeds before the model tells positions no more apart; None: any."""
        return None

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
        """The same rows with the prompt dropped, where a generator is ``guided``."""

    def step(
        self, features: Mapping[str, Tensor], adapter: str, valid: Tensor | None = None
    ) -> Tensor:
        """Append positions that later ones see; features [R * n, ...] row-major. Returns hidden [R, n, H].

        ``valid`` bool [R, n] marks real positions (left-aligned); others leave no trace.
        """

    def denoise(
        self, features: Mapping[str, Tensor], adapter: str, shapes: Sequence[tuple[int, ...]]
    ) -> Tensor:
        """Hidden states [sum of lengths, H] of one bidirectional segment for each row, that leaves no trace."""

    def commit(
        self, features: Mapping[str, Tensor], adapter: str, shapes: Sequence[tuple[int, ...]]
    ) -> None:
        """Append one finished bidirectional segment for each row, that later ones see."""

    def source(self) -> tuple[Tensor, tuple[int, ...]]:
        """Encoder output [sum of lengths, H] of the first segment of each row's source, row by row, and the lengths."""

    def predict(self, head: str, hidden: Tensor, ctx: HeadContext) -> Any:
        """Apply a head of the model to hidden states [m, H]."""

    def reorder(self, rows: Tensor) -> None:
        """Keep rows by index int64 [R']; an index may occur several times (beams) or not at all."""

    def begin_segment(self) -> None:
        """Called by the core where another slot begins."""

    def place(self, coordinates: Sequence[np.ndarray | None]) -> None:
        """Called by the core where a segment of tokens with coordinates begins: int64 [n, 3] of each row, or None.

        The positions that follow stand there, one by one, whoever appends them; see `TokenSegment.coordinates`.
        """

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
    """int64 ids of phrases that the value must contain, where the generator declares ``must_contain``."""


class Generator(Protocol):
    """Produces the values of one target slot for all rows of a session. Built as ``cls(options)`` for every call.

    ``options`` holds every option that its component declares, as the layers have it: the manifest, the configuration
    (of the run, the preset, the task), the call, the last one first. An option that it does not declare is refused
    where it is given. Options that contradict each other are found by the component's ``check``.

    It may have a true attribute ``guided``, of the class or of an instance with such options: then the session has an
    ``unconditional`` twin, for classifier-free guidance. Where it declares an option ``must_contain``, each request
    holds the phrases of that option as ``required`` tokens.
    """

    def __call__(
        self,
        session: DecodeSession,
        requests: Sequence[RowRequest],
        generator: torch.Generator,
    ) -> list[Produced]:
        """Candidates for each row, best first; leaves the session behind the best candidate unless ``final``.

        Random numbers come from ``generator`` alone, which is seeded by the option ``seed`` of generation.
        """


@runtime_checkable
class RequestCheck(Protocol):
    """What a `Generator` may offer besides, to refuse what no value can meet; without it nothing is looked at."""

    def check_request(self, request: RowRequest, vocabulary: Vocabulary) -> None:
        """Called before training with one row of a task, and before an answer with the first of its rows.

        Raises:
            ValueError, UserError: The options ask for more than any value can be; says what to change.
        """


class Metric(Protocol):
    """Built as ``cls(options)``. Mergeable: ``merge`` of parts equals one pass over everything.

    References, candidates and the columns of target slots in ``rows`` come as their slots take them, never raw (see
    `AsDecoded`, `AsCompared`); a reference is a list where the row gives several, of which any will do. Rows without
    one are not given. ``needs``, ``candidates`` and ``reference_column`` may be left out.
    """

    higher_is_better: ClassVar[bool]
    needs: Literal["", "log_probs", "candidates", "embeddings"] = ""
    """What predictions are, said by the class: decoded values; with ``log_probs`` the log-probabilities of the tokens
    of each reference; with ``candidates`` the log-probability of each value in a list that the row holds; with
    ``embeddings``, on one side of a contrast, the vectors of that side, float32 [size]: references are those of the
    other side."""
    candidates: str = ""
    """Column of that list; an instance has it where ``needs`` is ``candidates``."""
    reference_column: str = ""
    """Another column of references; empty: what the task says."""

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
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


AttentionPlace = Literal["encoder", "decoder", "cross"]
"""Self-attention of the encoder or the decoder, or attention of the decoder to the encoder's output."""
Stack = Literal["encoder", "decoder"]


@dataclass(frozen=True)
class PositionsContext:
    """What a position scheme knows of the model when it is built."""

    hidden: int
    """Width of the states, H."""
    heads: int
    """Attention heads of the model, of all processes."""
    encoder_layers: int
    decoder_layers: int
    max_positions: int = 1024
    """Most positions along one axis."""
    scale_factor: float = 1.0
    """``model.attn_scale_factor``: content's scores are divided by the root of the head's width times this."""
    adapters: tuple[str, ...] = ()
    """Those of the model, in the order that `PositionView.kind` counts."""
    linear: frozenset[str] = frozenset()
    """Adapters with ``axes = 1``: their positions lie on a line."""
    grids: Mapping[str, PositionGrid] = field(default_factory=dict)
    """Adapter -> its ``grid``, where it has one."""
    options: Options = field(default_factory=dict)
    """Every option that the scheme declares."""

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads


@dataclass
class PositionView:
    """What a position scheme sees of one attention group's positions: R rows of length L."""

    coordinates: Tensor
    """int64 [R, L, 3]: (t, y, x)."""
    run: Tensor
    """int64 [R, L]: a number for each run of tokens, and each segment of another adapter."""
    kind: Tensor
    """int64 [R, L]: number of the adapter that made the position; -1 if the model has none of that name."""


@dataclass
class RelativeBias:
    """What is added to the scores of one attention group, as rows of small tables: the same rows in all layers."""

    indices: tuple[Tensor, ...]
    """int32 [R, L, K] each: rows of a layer's table, for each query and key; what they name is added up."""
    table: Callable[[int], Tensor]
    """Layer -> its table [rows, h]: a number for each head. h is the model's heads, or this process's share of them
    where the scheme ``splits_heads``."""


class Positions(Protocol):
    """A position scheme: how attention knows where positions stand. An ``nn.Module``, built as ``cls(context:
    PositionsContext)``.

    A class that inherits from this protocol, behind ``nn.Module``, has all members, which do nothing; any other must
    have each of them. The answer for a position or a pair may depend on their coordinates, runs and kinds alone: not on
    what else stands in the row, so that decoding one position at a time gives what decoding all of them at once gives.
    Matrices of a scheme start with normal numbers of deviation 0.02, whatever its constructor gave.
    """

    packs: ClassVar[bool] = True
    """Several sequences may share a row."""
    restarts: ClassVar[bool] = False
    """Coordinates count from 0 in every run and segment, not on through the sequence."""
    splits_heads: ClassVar[bool] = False
    """Features and tables are those of this process's heads alone (`ofacore.parts.own_heads`); otherwise they are for
    all heads, and each process of a tensor group takes its own."""
    most: int | None = None
    """Positions of a run that its tables tell apart, at which generation ends; None: any number."""
    width: int = 0
    """Features w that `features` gives for each head; 0: none."""
    plain: Collection[AttentionPlace] = ()
    """Places whose scores are divided by the root of the head's width alone, without ``model.attn_scale_factor`` and
    ``model.scale_heads``."""

    def rotation(self, coordinates: Tensor) -> Tensor | None:
        """Coordinates [..., 3] -> complex64 [..., p]: the first p pairs of features of each query and key are
        multiplied with these, in the self-attention of both sides. p is at most half of the head's width. None: no
        rotation."""
        return None

    def states(self, stack: Stack, coordinates: Tensor, kind: Tensor) -> Tensor | None:
        """Coordinates [n, 3], kinds [n] -> what is added to the embeddings [n, H]; None: nothing."""
        return None

    def vectors(self, stack: Stack, coordinates: Tensor, kind: Tensor) -> Tensor | None:
        """Coordinates [n, 3], kinds [n] -> position vectors [n, H], computed once, for `features`; None: none."""
        return None

    def features(
        self, place: AttentionPlace, role: Literal["query", "key"], vectors: Tensor | None
    ) -> Tensor | None:
        """Vectors [..., H] -> [..., h, w]. The scores of a place are raised by the product of the query's and the
        key's. None: nothing, which then holds of both roles."""
        return None

    def relative(
        self, place: AttentionPlace, queries: PositionView, keys: PositionView
    ) -> RelativeBias | None:
        """What is added to the scores of a group; None: nothing, which then holds of every group of that place.

        While a target is produced, the new positions alone are the queries. In cross-attention the runs of queries and
        keys have nothing to do with each other.
        """
        return None

    def readers(self, name: str) -> Sequence[tuple[Stack, int | None]] | None:
        """(Side, layer) that use one of its parameters; layer None: any of the side. None: all use it. Pipeline stages
        without a reader do not hold the parameter."""
        return None


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


@dataclass(frozen=True)
class PositionsWeight:
    """One parameter of a position scheme, as `PositionsCost` tells of it."""

    name: str
    """As the scheme has it, such as ``tables.0.weight``."""
    shape: tuple[int, ...]
    split: int | None = None
    """Dimension that a tensor group splits."""
    table: bool = False
    """Rows are looked up."""
    readers: Sequence[tuple[Stack, int | None]] | None = None
    """As `Positions.readers` has it."""


class PositionsCost(Protocol):
    """What a position scheme costs, for `ofa plan-layout`: a component of the scheme's name, which imports no torch.

    Built as ``cls(context: PositionsContext)``. A class that inherits from this protocol has all members; a scheme
    without such a component is counted as one that costs nothing.
    """

    width: int = 0
    """As `Positions.width`."""
    rotates: bool = False
    """Queries and keys are rotated."""
    biased: bool = False
    """There are relative biases of self-attention."""
    plain: Collection[AttentionPlace] = ()
    """As `Positions.plain`."""

    def weights(self) -> Sequence[PositionsWeight]:
        """Every parameter, for a model of tokens alone."""
        return ()

    def kept(self, queries: int, keys: int, size: int) -> float:
        """Bytes that all layers of a side share for the backward pass, for one sample; the rotation is left out.

        Args:
            queries: Positions of a sample that read.
            keys: Positions that they read; as many in self-attention.
            size: Bytes of a number.
        """
        return 0.0


# ---------------------------------------------------------------- backbones


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

    What it may offer besides, each a protocol of its own: `CachedBackbone`, `AddedPositions`, `AttentionBackbone`,
    `ExpertBackbone`, `CollectiveBackbone`, `ShardedBackbone`, `StagedBackbone`. In how many ways its work can be
    divided its manifest says, ``Component(divides=...)``.
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


ModuleFactory = Callable[[BuildContext], "nn.Module"]
