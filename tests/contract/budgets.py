"""A plugin with row transforms and a task that names one; public imports alone."""

from __future__ import annotations

from ofacore.plugin import CONTRACT, Component, Option, TaskManifest, TaskPreset
from ofacore.protocols import RowError


def budget(row, slots, ctx, measure, limit):
    """Cuts the last word of the longest text until source and target together have ``limit`` positions."""
    names = dict.fromkeys(slot.name for slot in slots if slot.type == "TEXT")
    lengths = measure(row)
    while lengths.total > limit:
        longest = max(names, key=lengths.slots.__getitem__)
        words = row[longest].split()
        if len(words) < 2:
            raise RowError(
                f"{lengths.total} positions, of which no text can be cut to make {limit}"
            )
        row = {**row, longest: " ".join(words[:-1])}
        lengths = measure(row)
    return row


class Shuffle:
    """Puts one of the two questions first, as the row's generator says."""

    def __init__(self, options):
        pass

    def __call__(self, row, slots, ctx, measure):
        if ctx.split == "train" and ctx.rng.random() < 0.5:
            return {**row, "a": row["b"], "b": row["a"]}
        return row


def nothing(row, slots, ctx, measure):
    """Forgets to return the row."""


def broken(row, slots, ctx, measure):
    """Raises what nobody expects."""
    return row["no such column"]


MANIFEST = TaskManifest(
    "budgets",
    CONTRACT,
    (
        TaskPreset(
            "pair",
            ("which of [TEXT:a] and [TEXT:b] ? -> [TEXT:c]",),
            row_transforms={"budget": {"limit": 24}},
        ),
    ),
    (
        Component(
            "row_transform",
            "budget",
            f"{__name__}:budget",
            "Cuts texts.",
            options={"limit": Option(512, "Positions.", minimum=8)},
        ),
        Component("row_transform", "shuffle", f"{__name__}:Shuffle", "Changes places."),
        Component("row_transform", "nothing", f"{__name__}:nothing", "Faulty."),
        Component("row_transform", "broken", f"{__name__}:broken", "Faulty."),
    ),
)
