"""Loss terms of one row: which positions are learned, from which labels, by which head and criterion."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ofacore.config.closed_values import plain_value
from ofacore.encoding.pieces import Placed
from ofacore.encoding.token_runs import BuiltSequence
from ofacore.plugin import PluginError
from ofacore.plugin.blame import blame
from ofacore.protocols import (
    Criterion,
    DenseSegment,
    Options,
    RowError,
    Side,
    SlotPlan,
    TermItem,
    TokenSegment,
)

if TYPE_CHECKING:
    from ofacore.instruction import Contrast
    from ofacore.plan import LossPlan, TaskPlan

Labels = dict[str, np.ndarray]


@dataclass(frozen=True)
class LossRule:
    """How the positions of an occurrence are learned."""

    head: str
    criterion: str
    key: str
    """Of the criterion with its options, among those that count."""
    weight: float = 1.0
    options: Options = field(default_factory=dict)


@dataclass(frozen=True)
class TermBuilder:
    """Terms of the rows of one task."""

    plan: TaskPlan
    criteria: Mapping[str, Criterion]
    """By name; those with options by `ofacore.plan.criterion_key`."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """``criterion/name`` -> whose it is, for messages."""

    def terms(
        self,
        sources: Sequence[BuiltSequence],
        target: BuiltSequence,
        contrast: Contrast | None,
        pair: int,
    ) -> tuple[TermItem, ...]:
        """All terms with something to count.

        Args:
            sources: Built source sequences.
            target: Built target.
            contrast: The template's contrast, if it has one and both its sides are there.
            pair: Number that only the two sides of this sample share.
        """
        found: list[TermItem] = []
        if not self.plan.losses:
            for place in target.placed:
                found += self._own(place, place.named.name, self._usual_rule(place.slot))
        for loss in self.plan.losses:
            found += self._declared(loss, sources, target)
        if contrast is not None and self.plan.contrast is not None:
            found += self._contrast(self.plan.contrast, contrast, sources, pair)
        return tuple([item for item in found if item.count])

    def _usual_rule(self, slot: SlotPlan) -> LossRule:
        """How a slot is learned where the task declares no losses."""
        key = slot.head, slot.criterion
        if key not in self._usual_rules:
            options = self.plan.criterion_options.get(slot.criterion, {})
            self._usual_rules[key] = LossRule(*key, slot.criterion, options=options)
        return self._usual_rules[key]

    @cached_property
    def _usual_rules(self) -> dict[tuple[str, str], LossRule]:
        """(head, criterion) -> the rule of slots that have these."""
        return {}

    def _declared(
        self, loss: LossPlan, sources: Sequence[BuiltSequence], target: BuiltSequence
    ) -> Iterator[TermItem]:
        several = sum(other.hidden == loss.hidden for other in self.plan.losses) > 1
        name = f"{loss.hidden}/{loss.criterion}" if several else loss.hidden
        if loss.labels == loss.hidden:
            for place in target.placed:
                if place.named.name == loss.hidden:
                    yield from self._own(place, name, _rule(loss, place.slot.head))
            yield from self._of_source(loss, name, sources)
            return
        givers = [
            place
            for sequence in (target, *sources)
            for place in sequence.placed
            if place.slot.name == loss.labels
        ]
        for place, side, shift in _holders(loss.hidden, sources, target):
            yield self._borrowed(place, _giver(place, givers, loss), name, loss, side, shift)

    def _of_source(
        self, loss: LossPlan, name: str, sources: Sequence[BuiltSequence]
    ) -> Iterator[TermItem]:
        """Terms from labels that a source segment brings itself, such as what was hidden of it."""
        shift = 0
        for sequence in sources:
            for place in sequence.placed:
                if place.slot.name == loss.hidden and _is_labelled(place):
                    yield self._borrowed(place, place, name, loss, "source", shift)
            shift += len(sequence.pieces)

    def _own(self, place: Placed, name: str, rule: LossRule) -> Iterator[TermItem]:
        """Terms from the labels that stand on the occurrence itself."""
        if place.ids:
            labels = _token_labels(place)
            if self.plan.class_weights:
                rule = replace(rule, weight=rule.weight * self._class_weight(place))
            learned = sum(map(len, place.positions))
            positions = None if learned == place.length else _whole(place.positions)
            yield self._item(name, "target", place.pieces, labels, rule, positions, place.blocks)
        for part in place.dense:
            whole = np.array_equal(part.positions, np.arange(place.length))
            positions = None if whole else part.positions
            yield self._item(
                name, "target", place.pieces, dict(part.labels), rule, positions, part.blocks
            )

    def _class_weight(self, place: Placed) -> float:
        """Factor on the loss of the occurrence's value."""
        weights = self.plan.class_weights.get(place.slot.name)
        if not isinstance(weights, Mapping):
            return 1.0
        return weights.get(str(plain_value(place.value)), 1.0)

    def _borrowed(
        self, place: Placed, giver: Placed, name: str, loss: LossPlan, side: Side, shift: int
    ) -> TermItem:
        """A term whose labels come from another slot, such as CTC on the source."""
        labels, blocks = _clean_labels(giver)
        pieces = [number + shift for number in place.pieces]
        rule = _rule(loss, giver.slot.head or place.slot.head)
        return self._item(name, side, pieces, labels, rule, None, blocks)

    def _contrast(
        self, loss: LossPlan, contrast: Contrast, sources: Sequence[BuiltSequence], pair: int
    ) -> Iterator[TermItem]:
        shift = 0
        for side, (sequence, slot) in enumerate(
            zip(sources, (contrast.left, contrast.right), strict=True)
        ):
            value = next((p for p in sequence.placed if p.slot.position == slot.position), None)
            labels = {
                "pair": np.array([pair]),
                "side": np.array([side]),
                "identity": np.array([_identity(value, pair)]),
            }
            pieces = range(shift, shift + len(sequence.pieces))
            shift += len(sequence.pieces)
            yield self._item(loss.hidden, "source", pieces, labels, _rule(loss, loss.head))

    def _item(
        self,
        name: str,
        side: Side,
        pieces: Sequence[int],
        labels: Labels,
        rule: LossRule,
        positions: np.ndarray | None = None,
        blocks: tuple[str, ...] = (),
    ) -> TermItem:
        return TermItem(
            f"{self.plan.name}/{name}",
            side,
            tuple(pieces),
            rule.head,
            rule.criterion,
            labels,
            self._count(rule, name, labels),
            positions,
            blocks,
            rule.weight * self.plan.loss_weight,
            dict(rule.options),
        )

    def _count(self, rule: LossRule, name: str, labels: Mapping[str, np.ndarray]) -> int:
        """Units of loss, a whole number."""
        key = rule.key, rule.criterion, name
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._counter(rule, name)
        return counter.count(labels)

    def _counter(self, rule: LossRule, name: str) -> _Counter:
        if rule.key not in self.criteria:
            known = ", ".join(self.criteria)
            raise KeyError(
                f"criterion '{rule.key}' of task '{self.plan.name}' was not built; there are {known}"
            )
        owner = self.origins.get(f"criterion/{rule.criterion}", f"criterion '{rule.criterion}'")
        return _Counter(self.criteria[rule.key], owner, f"count, term {self.plan.name}/{name}")

    @cached_property
    def _counters(self) -> dict[tuple[str, str, str], _Counter]:
        """(Key and name of a criterion, name of a term) -> what counts there."""
        return {}


@dataclass(frozen=True)
class _Counter:
    """A criterion at one place, which it is called by if it fails."""

    criterion: Criterion
    owner: str
    place: str

    def count(self, labels: Mapping[str, np.ndarray]) -> int:
        """Units of loss of labels.

        Raises:
            PluginError: The criterion gives something else.
        """
        try:
            found = self.criterion.count(labels)
        except Exception as error:
            blame(error, self.owner, self.place)
            raise
        if type(found) is int and found >= 0:
            return found
        if not _is_count(found):
            problem = f"gives {found!r:.60}, no whole number from 0"
            raise PluginError(f"{self.owner}, {self.place}: {problem}")
        return int(found)


def _is_count(found: Any) -> bool:
    """Whether it is a whole number from 0, whatever type of numpy or torch it has."""
    try:
        return bool(found >= 0 and int(found) == found)
    except (TypeError, ValueError, OverflowError):
        return False


def _rule(loss: LossPlan, head: str) -> LossRule:
    return LossRule(loss.head or head, loss.criterion, loss.key, loss.weight, loss.options)


def _whole(parts: Sequence[np.ndarray]) -> np.ndarray:
    """int64."""
    return (
        np.concatenate(parts, dtype=np.int64)
        if len(parts) > 1
        else parts[0].astype(np.int64, copy=False)
    )


def _token_labels(place: Placed) -> Labels:
    labels: Labels = {"ids": _whole(place.ids)}
    if place.allowed:
        labels["allowed"] = np.concatenate(place.allowed).astype(np.int64)
        labels["allowed_lengths"] = np.array([len(ids) for ids in place.allowed], np.int64)
    return labels


def _holders(
    name: str, sources: Sequence[BuiltSequence], target: BuiltSequence
) -> list[tuple[Placed, Side, int]]:
    """Occurrences of a slot, of the target if it is there, else of the source; with the shift of piece numbers."""
    found: list[tuple[Placed, Side, int]] = [
        (p, "target", 0) for p in target.placed if p.slot.name == name and p.segments
    ]
    shift = 0
    for sequence in sources if not found else ():
        found += [(p, "source", shift) for p in sequence.placed if p.slot.name == name and p.pieces]
        shift += len(sequence.pieces)
    return found


def _giver(place: Placed, givers: Sequence[Placed], loss: LossPlan) -> Placed:
    """The occurrence that gives the labels: that of the same turn, or of a turn around it."""
    fitting = [
        giver for giver in givers if place.turn[: len(giver.turn)] == giver.turn and giver.segments
    ]
    if not fitting:
        raise RowError(
            f"the loss '{loss.criterion}' on '{loss.hidden}' finds no value of '{loss.labels}' in this row"
        )
    return max(fitting, key=lambda giver: len(giver.turn))


def _is_labelled(place: Placed) -> bool:
    return any(
        isinstance(part, DenseSegment) and part.labels is not None for part in place.segments
    )


def _clean_labels(giver: Placed) -> tuple[Labels, tuple[str, ...]]:
    tokens = [part for part in giver.segments if isinstance(part, TokenSegment)]
    if tokens:
        blocks = tuple(dict.fromkeys(block for part in tokens for block in part.blocks))
        ids = np.concatenate([part.ids for part in tokens]).astype(np.int64)
        return {"ids": ids}, blocks
    dense = [part for part in giver.segments if isinstance(part, DenseSegment)]
    given = [part.labels for part in dense if part.labels is not None]
    if not given:
        raise RowError(
            f"[{giver.slot.type}:{giver.slot.name}] gives no labels; name another slot in the loss"
        )
    blocks = tuple(dict.fromkeys(block for part in dense for block in part.blocks))
    joined = {}
    for key in given[0]:
        joined[key] = np.concatenate([labels[key] for labels in given])
    return joined, blocks


def _identity(place: Placed | None, pair: int) -> int:
    """Equal for equal values, so that duplicates are no negatives of each other."""
    if place is None:
        return pair
    parts = [
        part.ids if isinstance(part, TokenSegment) else _bytes(part) for part in place.segments
    ]
    digest = hashlib.blake2b(b"".join(part.tobytes() for part in parts), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _bytes(part: DenseSegment) -> np.ndarray:
    values = [np.ascontiguousarray(part.features[key]).tobytes() for key in sorted(part.features)]
    return np.frombuffer(b"".join(values), np.uint8)
