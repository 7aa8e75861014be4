"""Phrases that a generated value must contain: their tokens, and whether there is room for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ofacore.errors import UserError
from ofacore.plan import TemplatePlan
from ofacore.protocols import GenerationOptions, Preprocessor, RowContext, RowError, SlotPlan, TokenSegment

_LIMITING = ("closed_set", "max_length", "min_length", "length")
"""Attributes that say what a whole value may be, which a phrase within it is not."""


@dataclass(frozen=True)
class Phrases:
    """The option ``must_contain``, for the slots whose values are open text."""

    preprocessors: Mapping[str, Preprocessor]
    options: GenerationOptions

    def __call__(self, slot: SlotPlan, ctx: RowContext) -> tuple[np.ndarray, ...]:
        """Token ids int64 [n] of every phrase; none where a slot's value is not open text."""
        found = [self._ids(phrase, slot, ctx) for phrase in self.options.must_contain]
        return tuple(ids for ids in found if ids is not None)

    def check(self, template: TemplatePlan, ctx: RowContext) -> None:
        """Before anything is generated: some slot takes the phrases, and they fit into it.

        Raises:
            UserError: They do not.
        """
        if not self.options.must_contain:
            return
        slots = list(template.targets())
        self._check_left(slots, ctx)
        taking = {slot.name: self(slot, ctx) for slot in slots}
        if not any(taking.values()):
            names = ", ".join(f"'{slot.name}'" for slot in slots) or "none"
            raise UserError(
                f"must_contain={list(self.options.must_contain)}: no target slot takes phrases, since none of {names} "
                "is open text; leave the option out"
            )
        for slot in slots:
            if taking[slot.name]:
                self._check_banned(slot, taking[slot.name])
                self._check_room(slot, taking[slot.name])

    def _check_left(self, slots: Sequence[SlotPlan], ctx: RowContext) -> None:
        """Something is left of every phrase as one of the slots writes it."""
        for phrase in self.options.must_contain:
            found = {slot.name: self._tokens(phrase, slot, ctx) for slot in slots}
            emptied = [name for name, ids in found.items() if ids is not None and not len(ids)]
            if emptied and not any(ids is not None and len(ids) for ids in found.values()):
                raise UserError(
                    f"must_contain={list(self.options.must_contain)}: nothing is left of {phrase!r} as slot "
                    f"'{emptied[0]}' writes its values; leave it out"
                )

    def _check_banned(self, slot: SlotPlan, phrases: Sequence[np.ndarray]) -> None:
        banned = [ids for ids in self.options.banned_tokens if ids]
        for phrase in phrases:
            ids = tuple(phrase.tolist())
            found = next((sequence for sequence in banned if _within(tuple(sequence), ids)), None)
            if found is not None:
                raise UserError(
                    f"must_contain={list(self.options.must_contain)}: banned_tokens forbids {list(found)}, which slot "
                    f"'{slot.name}' needs for it; leave one of them out"
                )

    def _ids(self, phrase: str, slot: SlotPlan, ctx: RowContext) -> np.ndarray | None:
        ids = self._tokens(phrase, slot, ctx)
        return None if ids is None or not len(ids) else ids

    def _tokens(self, phrase: str, slot: SlotPlan, ctx: RowContext) -> np.ndarray | None:
        """Ids of a phrase; none of them where nothing of it is left; None where the slot takes no phrases."""
        if slot.attributes.get("closed_set"):
            return None
        attributes = {key: value for key, value in slot.attributes.items() if key not in _LIMITING}
        try:
            parts = self.preprocessors[slot.preprocessor].encode(
                phrase, replace(slot, attributes=attributes, loss=False), ctx
            )
        except RowError:
            return None
        ids = [part.ids for part in parts if isinstance(part, TokenSegment)]
        return np.concatenate(ids) if ids else None

    def _check_room(self, slot: SlotPlan, phrases: Sequence[np.ndarray]) -> None:
        ngram = self.options.no_repeat_ngram
        if ngram and any(_repeats_itself(ids.tolist(), ngram) for ids in phrases):
            raise UserError(
                f"must_contain={list(self.options.must_contain)}: a phrase repeats {ngram} of its tokens, which "
                f"no_repeat_ngram={ngram} forbids; raise no_repeat_ngram or leave the phrase out"
            )
        needed = sum(map(len, _apart(phrases)))
        limits = [(self.options.max_length, "max_length")]
        limits += [(slot.attributes[key], f"its {key}") for key in ("length", "max_length") if slot.attributes.get(key)]
        room, name = min(limits)
        if needed > room:
            raise UserError(
                f"must_contain={list(self.options.must_contain)}: slot '{slot.name}' needs {needed} tokens for it, but "
                f"{name} is {room}; raise {name} to {needed} or more, or require less"
            )


def _repeats_itself(ids: Sequence[int], ngram: int) -> bool:
    grams = [tuple(ids[i : i + ngram]) for i in range(len(ids) - ngram + 1)]
    return len(set(grams)) < len(grams)


def _apart(phrases: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
    """The phrases without those that another one contains."""
    distinct = dict.fromkeys(tuple(ids.tolist()) for ids in phrases)
    return [ids for ids in distinct if not any(ids != other and _within(ids, other) for other in distinct)]


def _within(part: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    return any(whole[i : i + len(part)] == part for i in range(len(whole) - len(part) + 1))
