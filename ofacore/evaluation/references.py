"""References as the target slots take them: what metrics, rewards and reports compare answers with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from ofacore.encoding.encoder import Encoder
from ofacore.encoding.filling import Filled, is_list
from ofacore.plan import TemplatePlan
from ofacore.protocols import (
    AsCompared,
    AsDecoded,
    Hypothesis,
    Preprocessor,
    RowContext,
    RowError,
    Segment,
    SlotPlan,
    TokenSegment,
)
from ofacore.sources.data_errors import ColumnError


class NoReference(ColumnError):
    """A row that a metric cannot judge.

    Attributes:
        column: Column that should hold the reference.
        reason: What is wrong with it; empty where it holds nothing.
    """


@dataclass(frozen=True)
class Reference:
    """What an answer is compared with."""

    shown: Any
    """As the slot writes it, for people."""
    value: Any
    """As metrics compare it; a list where the row gives several values, and of a repeated slot."""
    several: bool = False
    """The row gives several values, of which any will do."""

    @property
    def answers(self) -> tuple[Any, ...]:
        """Predictions without fault: the value, or each of several; None where there is none among them."""
        return (tuple(self.value) or (None,)) if self.several else (self.value,)


Found = Reference | NoReference


@dataclass(frozen=True)
class TargetValues:
    """Answers and references of one template, in one form.

    Every context is one that encoding made (`Encoder.read`, `Output.context`): its columns are mapped and transformed,
    row transforms applied, and what the source publishes is there.
    """

    encoder: Encoder
    template: TemplatePlan

    @classmethod
    def of(cls, encoder: Encoder) -> TargetValues:
        """For the template that rows are evaluated by, the first."""
        return cls(encoder, encoder.plan.templates[0])

    @property
    def slots(self) -> dict[str, SlotPlan]:
        """Target slots that are generated, by name."""
        return {slot.name: slot for slot in self.template.targets()}

    def predictions(self, values: Mapping[str, Any], ctx: RowContext) -> dict[str, Any]:
        """Generated values as metrics compare them."""
        slots, found = self.slots, dict(values)
        for name in values.keys() & slots.keys():
            if slots[name].repeat and isinstance(values[name], list):
                found[name] = [self._compared(turn, slots[name], ctx) for turn in values[name]]
            else:
                found[name] = self._compared(values[name], slots[name], ctx)
        return found

    def given_predictions(self, values: Mapping[str, Any], ctx: RowContext) -> dict[str, Any]:
        """Values that a baseline gives, written as in the data, as metrics compare them.

        What is no value of its slot stays as it is: it is a wrong answer, not a missing one.
        """
        slots, found = self.slots, dict(values)
        for name in values.keys() & slots.keys():
            try:
                found[name] = self._given(values[name], slots[name], ctx).value
            except NoReference:
                continue
        return found

    def references(self, ctx: RowContext) -> dict[str, Found]:
        """Target slot -> the reference in its own column, or why there is none."""
        return {name: self._own(slot, ctx) for name, slot in self.slots.items()}

    def reference(
        self, slot: SlotPlan, column: str, row: Mapping[str, Any], ctx: RowContext
    ) -> Found:
        """The reference of a slot in any column of a row."""
        if column == slot.name:
            return self._own(slot, ctx)
        try:
            return self._given(row.get(column), slot, ctx)
        except NoReference as error:
            return NoReference(column, error.reason)

    def candidates(
        self, slot: SlotPlan, column: str, row: Mapping[str, Any], ctx: RowContext
    ) -> list[Any] | None:
        """Candidates for a slot that a column lists, each as if it stood in the slot's own column; None: no list.

        Raises:
            RowError: One of them is no value of the slot.
        """
        mapped = self.encoder.columns.apply(row)
        if not is_list(mapped.get(column)):
            return None
        own = self.encoder.plan.columns.get(slot.name, slot.name)
        rows = [self.encoder.columns.apply({**row, own: value}) for value in mapped[column]]
        return [
            self._compared(self._decoded(each[slot.name], slot, ctx), slot, ctx) for each in rows
        ]

    def _own(self, slot: SlotPlan, ctx: RowContext) -> Found:
        value = ctx.row.get(slot.name)
        try:
            if is_absent(value):
                return NoReference(slot.name, "")
            if slot.repeat:
                return self._all(self._turns(slot, ctx), slot, ctx)
            return self._given(value, slot, ctx)
        except NoReference as error:
            return error
        except RowError as error:
            return NoReference(slot.name, _reason(error))

    def _given(self, value: Any, slot: SlotPlan, ctx: RowContext) -> Reference:
        """One value, or several in a list; the keys of a mapping, which may say how good each is.

        Raises:
            NoReference: There is none, or one of them is no value of the slot.
        """
        if is_absent(value):
            raise NoReference(slot.name, "")
        try:
            if slot.repeat:
                values = value if self._is_several(value, slot) else [value]
                return self._all(values, slot, ctx)
            return self._one(value, slot, ctx)
        except RowError as error:
            refused = error
        try:
            if isinstance(value, Mapping) and not slot.repeat and not self._is_one(value, slot):
                return self._graded(value, slot, ctx)
            if self._is_several(value, slot):
                return self._all(value, slot, ctx)
        except RowError as error:
            refused = error
        raise NoReference(slot.name, _reason(refused)) from refused

    def _is_several(self, value: Any, slot: SlotPlan) -> bool:
        return is_list(value) and not self._is_one(value, slot)

    def _is_one(self, value: Any, slot: SlotPlan) -> bool:
        """Whether the slot's type takes it for one value, by its outer form."""
        return self.encoder.kinds.element_tests[slot.type](value)

    def _one(self, value: Any, slot: SlotPlan, ctx: RowContext) -> Reference:
        try:
            decoded = self._decoded(value, slot, ctx)
        except RowError:
            if value is not ctx.row.get(slot.name):
                raise
            decoded = self._round_trip(
                value, slot, ctx
            )  # its type refuses it, but encoding takes it as one value
        return Reference(decoded, self._compared(decoded, slot, ctx))

    def _all(self, values: Sequence[Any], slot: SlotPlan, ctx: RowContext) -> Reference:
        """Several values, each by itself.

        Raises:
            RowError: One of them is missing, or no value of the slot.
        """
        decoded = [self._decoded(value, slot, ctx) for value in _present(values)]
        return Reference(
            decoded,
            [self._compared(value, slot, ctx) for value in decoded],
            several=not slot.repeat,
        )

    def _graded(self, value: Mapping[Any, Any], slot: SlotPlan, ctx: RowContext) -> Reference:
        """Values with a grade each; of two that are the same to the slot the better grade counts."""
        grades: dict[Any, Any] = {}
        for key, grade in value.items():
            name = self._compared(self._decoded(key, slot, ctx), slot, ctx)
            numbers = isinstance(grade, Real) and isinstance(grades.get(name), Real)
            grades[name] = max(grade, grades[name]) if numbers else grade
        return Reference(list(grades), grades, several=True)

    def _turns(self, slot: SlotPlan, ctx: RowContext) -> list[Any]:
        """The value of each turn of a repeat, as the target has them.

        Raises:
            RowError: Lists are unequally long, or what stands beside it in the repeat is missing.
        """
        expanded = self.encoder.expand(self.template, replace(ctx, split="infer"))
        items = [
            item
            for item in expanded.target
            if isinstance(item, Filled) and item.slot.name == slot.name
        ]
        if not items and not (is_list(ctx.row[slot.name]) and len(ctx.row[slot.name]) == 0):
            partners = [name for name in slot.repeat if is_absent(ctx.row.get(name))]
            raise NoReference(
                slot.name, f"its repeat has nothing in column {', '.join(partners) or slot.name}"
            )
        return [item.value for item in items]

    def _decoded(self, value: Any, slot: SlotPlan, ctx: RowContext) -> Any:
        """A value as a faultless answer is decoded.

        Raises:
            RowError: It is no value of the slot.
        """
        preprocessor = self.encoder.preprocessors[slot.preprocessor]
        if isinstance(preprocessor, AsDecoded):
            return preprocessor.as_decoded(value, slot, undisturbed(ctx))
        return self._round_trip(value, slot, ctx)

    def _round_trip(self, value: Any, slot: SlotPlan, ctx: RowContext) -> Any:
        """A value encoded and decoded; itself where nobody can say what a generator would make of its segments."""
        preprocessor, ctx = self.encoder.preprocessors[slot.preprocessor], undisturbed(ctx)
        hypothesis = faultless(preprocessor.encode(value, slot, ctx))
        return value if hypothesis is None else _decoded(preprocessor, hypothesis, value, slot, ctx)

    def _compared(self, value: Any, slot: SlotPlan, ctx: RowContext) -> Any:
        preprocessor = self.encoder.preprocessors[slot.preprocessor]
        if value is None or not isinstance(preprocessor, AsCompared):
            return value
        return preprocessor.as_compared(value, slot, ctx)


def is_absent(value: Any) -> bool:
    """Whether a column holds nothing: None, or a number that is none, as tables write it."""
    return value is None or (isinstance(value, Real) and bool(value != value))


def undisturbed(ctx: RowContext) -> RowContext:
    """The same row as it is evaluated; what is published or drawn leaves no trace in the original."""
    return replace(ctx, split="test", rng=np.random.default_rng(0), published=ctx.published.copy())


def faultless(segments: Sequence[Segment]) -> np.ndarray | None:
    """What a perfect generator would produce for the segments of a target; None where that cannot be told.

    The ids of tokens, also of those that a dense segment has as labels; else of dense segments the one array of real
    numbers among the labels, or, without labels, among the features.
    """
    tokens = [part.ids for part in segments if isinstance(part, TokenSegment)]
    if tokens:
        return np.concatenate(tokens) if len(tokens) == len(segments) else None
    found = []
    for part in segments:
        assert not isinstance(part, TokenSegment)
        if part.blocks and part.labels is not None and "ids" in part.labels:
            found.append(np.asarray(part.labels["ids"]))
            continue
        arrays = part.features if part.labels is None else part.labels
        real = [
            np.asarray(array) for array in arrays.values() if np.asarray(array).dtype.kind == "f"
        ]
        if len(real) != 1:
            return None
        found += real
    return np.concatenate(found) if found else None


def _decoded(
    preprocessor: Preprocessor, found: np.ndarray, value: Any, slot: SlotPlan, ctx: RowContext
) -> Any:
    preprocessor.expect(slot, ctx)  # some publish there what decoding needs
    try:
        return preprocessor.decode(Hypothesis(found), slot, ctx)
    except Exception:  # anybody's code, that may rely on what its own generator leaves behind
        return value


def _present(values: Sequence[Any]) -> Iterator[Any]:
    """The values.

    Raises:
        RowError: One of them is missing.
    """
    for number, value in enumerate(values):
        if is_absent(value):
            raise RowError(f"value {number} of {len(values)} is missing")
        yield value


def _reason(error: RowError | None) -> str:
    return error.reason if isinstance(error, ColumnError) else str(error)
