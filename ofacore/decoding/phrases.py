"""Phrases that a generated value must contain, as tokens of the slots that take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ofacore.ground.errors import UserError
from ofacore.plan import TemplatePlan
from ofacore.protocols import Options, Preprocessor, RowContext, RowError, SlotPlan, TokenSegment

_LIMITING = ("closed_set", "max_length", "min_length", "length")
"""Attributes that say what a whole value may be, which a phrase within it is not."""


@dataclass(frozen=True)
class Phrases:
    """The option ``must_contain`` of the generators that declare it, for the slots whose values are open text."""

    preprocessors: Mapping[str, Preprocessor]
    options: Mapping[str, Options]
    """Generator -> its options."""

    def __call__(self, slot: SlotPlan, ctx: RowContext) -> tuple[np.ndarray, ...]:
        """Token ids int64 [n] of every phrase; none where a slot's value is not open text."""
        found = [self._ids(phrase, slot, ctx) for phrase in self._asked(slot)]
        return tuple(ids for ids in found if ids is not None)

    def check(self, template: TemplatePlan, ctx: RowContext) -> None:
        """Before anything is generated: some slot takes the phrases, and something is left of them there.

        Raises:
            UserError: None does, or nothing is.
        """
        slots = list(template.targets())
        self._check_left(slots, ctx)
        asked = next((list(self._asked(slot)) for slot in slots if self._asked(slot)), [])
        if asked and not any(self(slot, ctx) for slot in slots):
            names = ", ".join(f"'{slot.name}'" for slot in slots)
            raise UserError(
                f"must_contain={asked}: no target slot takes phrases, since none of {names} is open text; leave the "
                "option out"
            )

    def _check_left(self, slots: Sequence[SlotPlan], ctx: RowContext) -> None:
        asked = list(dict.fromkeys(phrase for slot in slots for phrase in self._asked(slot)))
        for phrase in asked:
            found = {
                slot.name: self._tokens(phrase, slot, ctx)
                for slot in slots
                if phrase in self._asked(slot)
            }
            emptied = [name for name, ids in found.items() if ids is not None and not len(ids)]
            if emptied and not any(ids is not None and len(ids) for ids in found.values()):
                raise UserError(
                    f"must_contain={asked}: nothing is left of {phrase!r} as slot '{emptied[0]}' writes its values; "
                    "leave it out"
                )

    def _asked(self, slot: SlotPlan) -> Sequence[str]:
        phrases: Sequence[str] = self.options.get(slot.generator, {}).get("must_contain", ())
        return phrases

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
