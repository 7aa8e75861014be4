"""From a value to a segment and back: preprocessors, and what they may offer besides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ofacore.contract.decoding import Hypothesis
from ofacore.contract.segments import Segment, TargetSpec, TokenSegment
from ofacore.contract.values import Options, RowContext, RowError, SlotPlan
from ofacore.ground.artifacts import Artifact
from ofacore.ground.excerpts import excerpt, listing
from ofacore.ground.vocabulary import Block, Vocabulary
from ofacore.plugin.blame import Blame
from ofacore.plugin.manifest import Side
from ofacore.plugin.plugin_errors import PluginError

_KEPT_SLOTS = 64


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
    _made: dict[int, tuple[SlotPlan, Options, SlotPlan]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Of each slot that came last: the slot, its attributes here, and what was made of them."""

    def slot(self, slot: SlotPlan, **attributes: Any) -> SlotPlan:
        """The slot as this preprocessor gets it."""
        return self._slot(slot, attributes)

    def _slot(self, slot: SlotPlan, attributes: Options) -> SlotPlan:
        known = self._made.get(id(slot))
        if known is not None and known[0] is slot and known[1] == attributes:
            return known[2]
        given = {**self.defaults.get(slot.side, {}), **attributes}
        found = replace(slot, preprocessor=self.name, attributes=given)
        if len(self._made) >= _KEPT_SLOTS:
            self._made.clear()
        self._made[id(slot)] = slot, attributes, found
        return found

    def encode(
        self, value: Any, slot: SlotPlan, ctx: RowContext, **attributes: Any
    ) -> list[Segment]:
        """What it makes of a value.

        Raises:
            RowError: The value cannot be used.
        """
        with Blame(self.owner, f"encode, slot '{slot.name}'"):
            return self.preprocessor.encode(value, self._slot(slot, attributes), ctx)

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
class Growing(Protocol):
    """What a `Preprocessor` may offer besides, where it must learn more for tasks that join a model which has it."""

    def grow(
        self,
        artifact: Artifact | None,
        values: Iterable[tuple[str, SlotPlan, Any]],
        rng: np.random.Generator,
    ) -> Artifact | None:
        """The artifact with what values of the new tasks need besides: (task, slot, value).

        Everything that it says of older tasks stays. Its `blocks` begin with those of before, by name and size.
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
