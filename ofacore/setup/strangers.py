"""Validation and test rows whose value is in no closed set: told before anything is trained."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ofacore.encoding.closed_set_members import stranger_test
from ofacore.ground.excerpts import excerpt, listing
from ofacore.plan import TaskPlan
from ofacore.plugin import Registry
from ofacore.protocols import Preprocessor, SlotPlan
from ofacore.setup.closed_sets import choosing, values_of
from ofacore.setup.datasets import TaskRows, named_rows

logger = logging.getLogger("ofacore.encoding")
LOOKED_AT = 2_000
"""Rows of a split that are looked at, evenly spread."""
_TOLD = 4


def tell_strangers(
    plan: TaskPlan,
    data: TaskRows,
    registry: Registry,
    preprocessors: Mapping[str, Preprocessor],
) -> None:
    """Warn of each split that has such rows: how many, which values, where.

    Args:
        plan: With its closed sets settled.
        data: Its rows by split.
        registry: What is installed.
        preprocessors: Bound ones, by name.
    """
    for name, members in plan.closed_sets.items():
        slots = choosing(plan, name)
        if not slots or isinstance(members, Mapping | str):
            continue
        for split in ("valid", "test"):
            _tell_split(plan, data, split, slots[0], members, registry, preprocessors)


def _tell_split(
    plan: TaskPlan,
    data: TaskRows,
    split: str,
    slot: SlotPlan,
    members: Sequence[Any],
    registry: Registry,
    preprocessors: Mapping[str, Preprocessor],
) -> None:
    is_element = registry.slot(slot.type).is_element
    is_stranger = stranger_test(members, slot, preprocessors)
    places: list[str] = []
    values: dict[str, None] = {}
    rows = 0
    for place, row in named_rows(plan, data.splits.get(split), registry, LOOKED_AT):
        rows += 1
        odd = [v for v in values_of(row.get(slot.name), slot, is_element) if is_stranger(v)]
        if odd:
            places.append(place)
            values.update(dict.fromkeys(map(excerpt, odd)))
    if places:
        logger.warning(
            "task '%s': %d of %d %s rows have a value of '%s' that is not in its closed set: %s (%s); they are left "
            "out of the validation loss, and no answer to them can be right; list the values in "
            "tasks.%s.closed_sets.%s, or mend the rows",
            plan.name,
            len(places),
            rows,
            split,
            slot.name,
            listing(values, _TOLD),
            listing(places, _TOLD),
            plan.name,
            slot.name,
        )
