"""One row's way to an `Example`: columns, template, row transforms, groups, segments, pieces, terms."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ofacore.encoding.closed_set_members import read_members, row_members
from ofacore.encoding.columns import ColumnMap
from ofacore.encoding.filling import Expanded, Filled, Item, RepeatEnd, Turn, expand
from ofacore.encoding.loss_items import TermBuilder
from ofacore.encoding.pieces import Geometry, coordinates_problem
from ofacore.encoding.slot_kinds import Kinds, Order, file_slots
from ofacore.encoding.token_runs import (
    BuiltSequence,
    Occurrence,
    RunSettings,
    source_sequence,
    target_sequence,
)
from ofacore.plan.lookups import read_columns
from ofacore.plugin import PluginError
from ofacore.plugin.blame import Blame, blame, who
from ofacore.protocols import (
    Corruption,
    Criterion,
    DenseSegment,
    Example,
    Options,
    Preprocessor,
    RedrawError,
    RowContext,
    RowError,
    RowLengths,
    Segment,
    SlotPlan,
    Split,
    TargetSpec,
    TokenSegment,
    WholeRowTransform,
)
from ofacore.sources.data_errors import Blaming, ColumnError, blamed_column, column_error

if TYPE_CHECKING:
    from ofacore.plan import TaskPlan, TemplatePlan
    from ofacore.plugin import Registry


_NOTHING = frozenset[int]()
_DRAWS = 10
"""Most times that the random changes of a row are drawn; the last time nothing is left of them."""


@dataclass(frozen=True)
class Request:
    """A row whose target is to be generated."""

    template: TemplatePlan
    """Its tree tells what is generated, in which order, and what is forced."""
    context: RowContext
    """For `Preprocessor.expect`, ``decode`` and forced values (``context.row``)."""
    source: Example
    """Source pieces alone, ready to collate."""
    unprompted: Example | None = None
    """The same without its prompt, where guidance was asked for."""


@dataclass(frozen=True)
class Encoder:
    """Encodes the rows of one task. A pure function of (row, generator); picklable if its parts are."""

    plan: TaskPlan
    preprocessors: Mapping[str, Preprocessor]
    geometry: Mapping[str, Geometry]
    """Adapter -> its geometry; adapters of tokens need none."""
    criteria: Mapping[str, Criterion]
    kinds: Kinds
    columns: ColumnMap = field(default_factory=ColumnMap)
    corruptions: Mapping[str, Corruption] = field(default_factory=dict)
    settings: RunSettings = field(default_factory=RunSettings)
    closed_sets: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Slot -> allowed values, files read; sets that come with each row are not here."""
    options: Mapping[str, Options] = field(default_factory=dict)
    """Preprocessor -> its options."""
    row_transforms: Mapping[str, WholeRowTransform] = field(default_factory=dict)
    """Transforms of whole rows that the task names, in order."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """``preprocessor/name``, ``corruption/name``, a row transform -> whose it is, for messages."""

    @classmethod
    def of(
        cls,
        plan: TaskPlan,
        registry: Registry,
        preprocessors: Mapping[str, Preprocessor],
        geometry: Mapping[str, Geometry],
        criteria: Mapping[str, Criterion],
        corruptions: Mapping[str, Corruption] | None = None,
        settings: RunSettings | None = None,
        options: Mapping[str, Options] | None = None,
    ) -> Encoder:
        """With row transforms, column transforms and closed sets looked up.

        Raises:
            PluginError: Something named is not installed.
            SourceError: The file of a closed set cannot be read.
            UserError: Slots name each other in a circle.
        """
        encoder = cls(
            plan,
            preprocessors,
            geometry,
            criteria,
            Kinds.of(plan.slots(), registry),
            ColumnMap.of(
                plan.columns,
                plan.transforms,
                registry.make,
                file_slots(plan.slots(), registry),
                read_columns(plan),
            ),
            corruptions or {},
            settings or RunSettings(),
            {
                slot: _closed_set(slot, v)
                for slot, v in plan.closed_sets.items()
                if not isinstance(v, Mapping)
            },
            options or {},
            {
                name: registry.make("row_transform", name, given)
                for name, given in plan.row_transforms.items()
            },
            _origins(plan, registry),
        )
        encoder._check_orders()
        return encoder

    def encode(
        self,
        row: Mapping[str, Any],
        *,
        split: Split,
        rng: np.random.Generator,
        row_id: str,
        keep_context: bool | None = None,
    ) -> Example:
        """Encode one row with its labels.

        Args:
            row: The raw row.
            split: In training a template is drawn and prompts are dropped; else the first template is used.
            rng: The row's generator.
            row_id: Where the row is found, for messages.
            keep_context: Keep the row with the example; default: unless training.

        Raises:
            EncodeError: The row cannot be used; names task, row and column.
        """
        template = self._draw(rng) if split == "train" else self.plan.templates[0]
        with Blaming(self.plan.name, row_id):
            ctx = self.context(row, template, split, rng)
            dropped = self._dropped(template, rng) if split == "train" else _NOTHING
            sources, target = self._sequences(self.expand(template, ctx, dropped), ctx, template)
            contrast = template.contrast if len(sources) == 2 else None
            pair = int(rng.integers(1 << 62)) if contrast is not None else 0
            terms = self._terms.terms(sources, target, contrast, pair)
            if split == "train" and not terms:
                raise RowError(
                    "nothing to learn in this row: every learned slot is absent or empty"
                )
        pieces = tuple([sequence.pieces for sequence in sources if sequence.pieces])
        keep = split != "train" or self._rolls_out if keep_context is None else keep_context
        kept = ctx if keep else None
        return Example(self.plan.name, row_id, pieces, target.pieces, terms, kept)

    def context(
        self, row: Mapping[str, Any], template: TemplatePlan, split: Split, rng: np.random.Generator
    ) -> RowContext:
        """The row with its columns mapped and transformed, row transforms applied.

        Raises:
            RowError: A column is missing or cannot be used.
        """
        values = self.columns.apply(row, partial=split == "infer")
        sets = self._closed_sets(values)
        draws = _DRAWS if split == "train" else 1
        for draw in range(draws):
            ctx = RowContext(
                values,
                self.plan.name,
                split,
                rng,
                closed_sets=sets,
                options=self.options,
                held_back=draw / (_DRAWS - 1),
            )
            try:
                return self._transformed(ctx, template)
            except RedrawError:
                if draw + 1 == draws:
                    raise
        raise AssertionError("the last draw returns or raises")

    def read(
        self, row: Mapping[str, Any], template: TemplatePlan, split: Split, rng: np.random.Generator
    ) -> RowContext:
        """As `context`, with all that the slots of the source publish while they are encoded.

        Raises:
            RowError: The row cannot be used.
        """
        ctx = self.context(row, template, split, rng)
        self._source(template, ctx, _NOTHING)
        return ctx

    def _transformed(self, ctx: RowContext, template: TemplatePlan) -> RowContext:
        """The row behind the transforms of its slots and of its task.

        Raises:
            RedrawError: What is random in them left a value unusable.
        """
        for name, members in self._order(template).transforms.items():
            owner = self.origins.get(name, f"row transform '{name}'")
            with blamed_column(members[0].name), Blame(owner, f"slot '{members[0].name}'"):
                ctx.row = self.kinds.row_transforms[name](dict(ctx.row), members, ctx)
        for name, transform in self.row_transforms.items():
            ctx.row = self._changed(name, transform, ctx, template)
        return ctx

    def _changed(
        self, name: str, transform: WholeRowTransform, ctx: RowContext, template: TemplatePlan
    ) -> dict[str, Any]:
        """The row as a transform of the task makes it."""
        slots = [slot for slot in template.slots.values() if slot.plain is None]
        with Blame(self._origin("row_transform", name), f"task '{self.plan.name}'"):
            try:
                row = transform(
                    dict(ctx.row), slots, ctx, lambda row: self.lengths(row, ctx, template)
                )
            except (ColumnError, RedrawError):
                raise
            except RowError as error:
                raise RowError(f"row transform '{name}': {error}") from error
            if not isinstance(row, dict):
                raise TypeError(
                    f"row transform '{name}' returned a {type(row).__name__} where a row, a dict, is expected"
                )
        return row

    def lengths(
        self, row: Mapping[str, Any], ctx: RowContext, template: TemplatePlan
    ) -> RowLengths:
        """How many positions a row takes; nothing is drawn from ``ctx.rng`` and nothing published there.

        Raises:
            RowError: The row cannot be encoded.
        """
        trial = replace(ctx, row=row, rng=copy.deepcopy(ctx.rng), published=ctx.published.copy())
        unlimited = replace(self.settings, max_positions=sys.maxsize)
        filled = self.expand(template, replace(trial, split="infer"))
        sources, target = self._sequences(filled, trial, template, unlimited)
        found = {slot.name: 0 for slot in template.slots.values() if slot.plain is None}
        for place in (place for sequence in (*sources, target) for place in sequence.placed):
            if place.slot.plain is None:
                found[place.slot.name] += place.length
        source = sum(piece.length for sequence in sources for piece in sequence.pieces)
        return RowLengths(found, source, sum(piece.length for piece in target.pieces))

    def expand(
        self, template: TemplatePlan, ctx: RowContext, dropped: frozenset[int] = frozenset()
    ) -> Expanded:
        """The template filled with the row.

        Raises:
            ColumnError: A value is absent, or lists are unequally long.
        """
        try:
            return expand(template, ctx.row, self.kinds.element_tests, ctx.split, dropped)
        except ColumnError as error:
            reason = self.columns.missing(error.column, ctx.row)
            if not reason or ctx.row.get(error.column) is not None:
                raise
            raise ColumnError(self.columns.columns[error.column], reason) from error

    def segments(self, slot: SlotPlan, value: Any, ctx: RowContext) -> tuple[Segment, ...]:
        """Segments of one value, corrupted where the slot's target is learned that way.

        Raises:
            ColumnError: The value cannot be used.
        """
        if slot.plain is not None:
            return self._plain_segments(slot, ctx)
        try:
            found = self.preprocessors[slot.preprocessor].encode(value, slot, ctx)
        except ColumnError:
            raise
        except RowError as error:
            raise column_error(slot.name, error) from error
        except Exception as error:
            blame(
                error,
                self._origin("preprocessor", slot.preprocessor),
                f"encode, slot '{slot.name}'",
            )
            raise
        if slot.corruption and slot.loss and ctx.split != "infer":
            found = self._corrupted(found, slot, ctx)
        segments = tuple(found)
        for part in segments:
            if isinstance(part, TokenSegment) and part.coordinates is not None:
                self._check_coordinates(part, slot)
        return segments

    def _corrupted(
        self, segments: Sequence[Segment], slot: SlotPlan, ctx: RowContext
    ) -> list[Segment]:
        """What is trained on in place of clean segments."""
        corrupt, owner = (
            self.corruptions[slot.corruption],
            self._origin("corruption", slot.corruption),
        )
        with Blame(owner, f"slot '{slot.name}'"):
            found = [corrupt(part, ctx.rng) for part in segments]
        for part in found:
            if not isinstance(part, TokenSegment | DenseSegment):
                problem = f"gives a {type(part).__name__}, no TokenSegment or DenseSegment"
                raise PluginError(f"{owner}, slot '{slot.name}': {problem}")
        return found

    def _check_coordinates(self, segment: TokenSegment, slot: SlotPlan) -> None:
        """A place for each token.

        Raises:
            PluginError: There are others.
        """
        problem = coordinates_problem(segment.coordinates, len(segment.ids))
        if problem:
            raise PluginError(
                f"{self._origin('preprocessor', slot.preprocessor)}, slot '{slot.name}': {problem}"
            )

    def _origin(self, kind: str, name: str) -> str:
        return self.origins.get(f"{kind}/{name}", f"{kind} '{name}'")

    def _plain_segments(self, slot: SlotPlan, ctx: RowContext) -> tuple[Segment, ...]:
        """Segments of plain text, the same in every row and so encoded once."""
        key = slot.plain, slot.side, slot.loss
        if key not in self._plain:
            try:
                self._plain[key] = tuple(
                    self.preprocessors[slot.preprocessor].encode(slot.plain, slot, ctx)
                )
            except RowError as error:
                raise column_error("", error) from error
        return self._plain[key]

    def blocks(self, slot: SlotPlan, ctx: RowContext) -> tuple[str, ...]:
        """Vocabulary blocks of a target slot's tokens; empty where it gives none, or none that belong to a run."""
        preprocessor = self.preprocessors[slot.preprocessor]
        if slot.plain is None:
            with Blame(
                self._origin("preprocessor", slot.preprocessor), f"expect, slot '{slot.name}'"
            ):
                spec = expected(preprocessor, self.corruptions.get(slot.corruption), slot, ctx)
                return spec.blocks if spec.in_run else ()
        parts = preprocessor.encode(slot.plain, slot, ctx)
        return next(
            (part.blocks for part in parts if isinstance(part, TokenSegment) and part.shift), ()
        )

    def occurrences(
        self, items: Sequence[Filled], ctx: RowContext, template: TemplatePlan
    ) -> dict[tuple[int, Turn], Occurrence]:
        """Every occurrence encoded once, in dependency order, by (position, turn)."""
        order = self._order(template)
        if not order.is_reading_order:
            items = sorted(items, key=lambda item: order.ranks[item.slot.position])
        encoded: dict[tuple[int, Turn], Occurrence] = {}
        for item in items:
            slot = item.slot
            key = slot.position, item.turn
            if key not in encoded:
                encoded[key] = Occurrence(item, self.segments(slot, item.value, ctx))
        return encoded

    def encode_request(
        self,
        row: Mapping[str, Any],
        *,
        rng: np.random.Generator,
        row_id: str,
        split: Split = "infer",
        template: TemplatePlan | None = None,
        guided: bool = False,
    ) -> Request:
        """Encode the source of a row whose target is to be generated.

        Values of forced target slots (``no_loss``) are in ``Request.context.row``, transformed like all others.

        Args:
            row: The raw row; columns of learned target slots may be missing.
            rng: The row's generator.
            row_id: Where the row is found, for messages.
            split: ``infer`` changes no image or box at random; ``valid`` and ``test`` read references too.
            template: One of the plan's templates; default: the first.
            guided: Encode the source without its prompt too.

        Raises:
            EncodeError: The row cannot be used.
        """
        template = template or self.plan.templates[0]
        with Blaming(self.plan.name, row_id):
            ctx = self.context(row, template, split, rng)
            source = self._request(self._source(template, ctx, frozenset()), row_id)
            if not guided:
                return Request(template, ctx, source)
            unprompted = self._source(template, ctx, self.prompt(template))
        return Request(template, ctx, source, self._request(unprompted, row_id))

    def _source(
        self, template: TemplatePlan, ctx: RowContext, dropped: frozenset[int]
    ) -> list[BuiltSequence]:
        sources = self.expand(template, replace(ctx, split="infer"), dropped).sources
        encoded = self.occurrences([item for items in sources for item in items], ctx, template)
        return [self._built(items, encoded) for items in sources]

    def _request(self, sources: Sequence[BuiltSequence], row_id: str) -> Example:
        return Example(self.plan.name, row_id, tuple(s.pieces for s in sources if s.pieces), (), ())

    def _built(
        self,
        items: Sequence[Filled],
        encoded: Mapping[tuple[int, Turn], Occurrence],
        settings: RunSettings | None = None,
    ) -> BuiltSequence:
        occurrences = [encoded[item.slot.position, item.turn] for item in items]
        return source_sequence(occurrences, self.geometry, settings or self.settings)

    def _sequences(
        self,
        expanded: Expanded,
        ctx: RowContext,
        template: TemplatePlan,
        settings: RunSettings | None = None,
    ) -> tuple[list[BuiltSequence], BuiltSequence]:
        filled = [item for sequence in expanded.sources for item in sequence]
        target: list[Item] = []
        for item in expanded.target:
            if isinstance(item, RepeatEnd):
                target.append(item)
            elif item.value is not None:
                target.append(item)
                filled.append(item)
        encoded = self.occurrences(filled, ctx, template)
        settings = settings or self.settings
        sources = [self._built(items, encoded, settings) for items in expanded.sources]
        found = [
            i if isinstance(i, RepeatEnd) else encoded[i.slot.position, i.turn] for i in target
        ]
        return sources, target_sequence(
            found, self.geometry, settings, lambda slot: self.blocks(slot, ctx)
        )

    def _order(self, template: TemplatePlan) -> Order:
        known = self._orders.get(template.text)
        return self.kinds.order(template.slots.values()) if known is None else known

    def _check_orders(self) -> None:
        for template in self.plan.templates:
            self._order(template)

    @cached_property
    def _orders(self) -> dict[str, Order]:
        return {
            template.text: self.kinds.order(template.slots.values())
            for template in self.plan.templates
        }

    @cached_property
    def _terms(self) -> TermBuilder:
        return TermBuilder(self.plan, self.criteria, self.origins)

    @cached_property
    def _plain(self) -> dict[tuple[str | None, str, bool], tuple[Segment, ...]]:
        """(text, side, learned) -> segments of plain text."""
        return {}

    @cached_property
    def _rolls_out(self) -> bool:
        """Whether the model writes sequences for these rows, which are then judged by what the rows hold."""
        return any("rollout" in criterion.needs for criterion in self.criteria.values())

    @cached_property
    def _weights(self) -> np.ndarray:
        """Cumulative weights of the templates."""
        return np.cumsum([template.weight for template in self.plan.templates])

    def _draw(self, rng: np.random.Generator) -> TemplatePlan:
        place = rng.random()
        if len(self.plan.templates) == 1:
            return self.plan.templates[0]
        return self.plan.templates[
            int(np.searchsorted(self._weights, place * self._weights[-1], side="right"))
        ]

    def _dropped(self, template: TemplatePlan, rng: np.random.Generator) -> frozenset[int]:
        """Positions of the source that this sample does without, so that guidance has something to compare with."""
        if not self.plan.drop_prompt and not self._drops[template.text]:
            return _NOTHING
        dropped: set[int] = set()
        if self.plan.drop_prompt and rng.random() < self.plan.drop_prompt:
            dropped |= self.prompt(template)
        dropped.update(
            position for position, share in self._drops[template.text] if rng.random() < share
        )
        return frozenset(dropped)

    @cached_property
    def _drops(self) -> dict[str, list[tuple[int, float]]]:
        """Text of a template -> position and probability of source slots that are dropped now and then."""
        drops = {}
        for template in self.plan.templates:
            drops[template.text] = [
                (slot.position, float(slot.attributes["drop_prompt"]))
                for slot in template.slots.values()
                if slot.side == "source" and slot.attributes.get("drop_prompt")
            ]
        return drops

    def prompt(self, template: TemplatePlan) -> frozenset[int]:
        """Positions that guidance drops: those of ``prompt_slot``, or the whole source."""
        wanted = self.plan.prompt_slot
        sources = [slot for slot in template.slots.values() if slot.side == "source"]
        return frozenset(slot.position for slot in sources if not wanted or slot.name == wanted)

    def _closed_sets(self, row: Mapping[str, Any]) -> Mapping[str, Sequence[Any]]:
        if not self.plan.closed_sets:
            return self.closed_sets
        columns = {
            slot: given["column"]
            for slot, given in self.plan.closed_sets.items()
            if isinstance(given, Mapping)
        }
        if not columns:
            return self.closed_sets
        return {
            **self.closed_sets,
            **{slot: row_members(row, slot, column) for slot, column in columns.items()},
        }


def expected(
    preprocessor: Preprocessor, corruption: Corruption | None, slot: SlotPlan, ctx: RowContext
) -> TargetSpec:
    """What a value that is to be generated will look like, by its preprocessor and by what it was trained with.

    Raises:
        RowError: The row lacks what is needed to know.
    """
    spec = preprocessor.expect(slot, ctx)
    shift = getattr(corruption, "shift", True)
    return spec if shift or not spec.in_run else replace(spec, shift=False)


def _origins(plan: TaskPlan, registry: Registry) -> dict[str, str]:
    """Whose components a task's rows go through."""
    found: dict[str, str] = {}
    for slot in plan.slots():
        found[f"preprocessor/{slot.preprocessor}"] = who(
            registry, "preprocessor", slot.preprocessor
        )
        if slot.corruption:
            found[f"corruption/{slot.corruption}"] = who(registry, "corruption", slot.corruption)
        if transform := registry.slot(slot.type).row_transform:
            found[transform] = who(registry, "slot", slot.type).replace(
                "slot", "row transform of slot type", 1
            )
    for name in plan.row_transforms:
        found[f"row_transform/{name}"] = who(registry, "row_transform", name)
    criteria = [slot.criterion for slot in plan.slots()] + [
        loss.criterion for loss in plan.all_losses()
    ]
    for name in dict.fromkeys(filter(None, criteria)):
        found[f"criterion/{name}"] = who(registry, "criterion", name)
    return found


def _closed_set(slot: str, given: Sequence[Any] | str) -> Sequence[Any]:
    return read_members(slot, given) if isinstance(given, str) else given
