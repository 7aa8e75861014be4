"""A plugin with a component of every kind, each with options, written with public imports alone.

``SEEN`` holds the options that each was built with last.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from ofacore.parts import AskedValues, CrossEntropy, TokenGenerator, ValuesHead, ValuesPreprocessor
from ofacore.plugin import (
    CONTRACT,
    Attribute,
    Component,
    ComponentManifest,
    Kind,
    ModalityManifest,
    Option,
    Registry,
    SlotType,
)
from ofacore.protocols import Positions, TargetSpec

SEEN: dict[str, dict] = {}


def note(kind, options):
    SEEN[kind] = copy.deepcopy(dict(options))


class Level(ValuesPreprocessor):
    """One number from 0 to 1."""

    def __init__(self, options):
        note("preprocessor", options)
        super().__init__(options)

    def to_array(self, value):
        return np.array([[float(value)]])

    def from_array(self, array):
        return float(array[0, 0])

    def expect(self, slot, ctx):
        ctx.published.put(slot.name, AskedValues(1))
        return TargetSpec(open=False, length=1)


class LevelRows:
    """A row transform gets the options of its type's preprocessor."""

    def __init__(self, options):
        note("row_transform", options)

    def __call__(self, row, slots, ctx):
        return row


class LevelAdapter(nn.Module):
    def __init__(self, context):
        super().__init__()
        note("adapter", context.options)
        self.mix = nn.Linear(2, context.hidden)

    @staticmethod
    def length(shape, options):
        return 1

    @staticmethod
    def coordinates(shape, options):
        note("coordinates", options)
        return np.zeros((1, 3), np.int64)

    def embed(self, features, shapes):
        return self.mix(
            torch.cat([features["values"], features["known"]], 1).to(self.mix.weight.dtype)
        )


class LevelHead(ValuesHead):
    def __init__(self, context):
        note("head", context.options)
        super().__init__(context)


class Noise:
    def __init__(self, options):
        note("corruption", options)

    def __call__(self, segment, rng):
        return segment


class Loss(CrossEntropy):
    def __init__(self, options):
        note("criterion", options)
        super().__init__({"label_smoothing": 0.0, "drop_worst_ratio": 0.0})


class Search:
    def __init__(self, options):
        note("generator", options)
        self.inner = TokenGenerator({})

    def __call__(self, session, requests, generator):
        return self.inner(session, requests, generator)


class Right:
    higher_is_better = True

    def __init__(self, options):
        note("metric", options)
        self.hits = []

    def update(self, predictions, references, rows):
        self.hits += [float(a == b) for a, b in zip(predictions, references, strict=True)]

    def compute(self):
        return {"right": float(np.mean(self.hits)) if self.hits else float("nan")}

    def merge(self, other):
        self.hits += other.hits

    def items(self):
        return self.hits


class Turns:
    def __init__(self, tasks, samples, seed, options):
        note("schedule", options)
        self.names, self.samples = list(tasks), samples

    def counts(self, step):
        return {self.names[0]: self.samples}


class Halves:
    def __init__(self, options):
        note("router", options)

    def __call__(self, layout, hidden):
        experts = torch.zeros(
            (len(layout.segment), 1), dtype=torch.long, device=layout.segment.device
        )
        return experts, torch.ones(experts.shape, device=experts.device)


def backbone(config, context):
    """The core's, behind a note."""
    note("backbone", context.options)
    return Registry.discover().load("backbone", "megatron")(config, context)


class Nowhere(nn.Module, Positions):
    """A position scheme that knows no places."""

    splits_heads = True

    def __init__(self, context):
        super().__init__()
        note("positions", context.options)


class Book:
    def __init__(self, folder, options):
        note("tracker", options)

    def log(self, record):
        pass

    def close(self):
        pass


class Cleaner:
    def __init__(self, options):
        note("transform", options)

    def __call__(self, value):
        return value


def cut(value, letters=9):
    note("function", {"letters": letters})
    return value[:letters]


class Mean:
    def __init__(self, options):
        note("merger", options)


class Merger:
    """Made as ``cls(options)``."""


def is_level(value):
    return isinstance(value, float)


def sample():
    return 0.5


DEPTH = Option(3, "How deep it goes.", minimum=1, maximum=9)
WAY = Option("short", "Which way it takes.", choices=("short", "long"))
OPTIONS = {"depth": DEPTH, "way": WAY}
WIDE = {"width": Option(1, "Numbers of a position.", minimum=1), **OPTIONS}


def part(kind, name, target, options=OPTIONS, **more):
    return Component(kind, name, f"{__name__}:{target}", "For tests.", options=options, **more)


LEVEL = {"adapter": "level", "head": "level", "criterion": "squared_error", "generator": "one_shot"}
MODALITY = ModalityManifest(
    "level",
    CONTRACT,
    slots=(
        SlotType(
            "LEVEL",
            "A level.",
            "level",
            "a number",
            is_level,
            attributes=(Attribute("length", "int", doc="Always 1.", minimum=1),),
            sample=f"{__name__}:sample",
            row_transform=f"{__name__}:LevelRows",
        ),
    ),
    components=(
        part("preprocessor", "level", "Level", WIDE, uses={**LEVEL, "corruption": "noise"}),
        part("adapter", "level", "LevelAdapter"),
        part("head", "level", "LevelHead", WIDE),
        part("corruption", "noise", "Noise"),
    ),
)
PARTS = ComponentManifest(
    "chosen",
    CONTRACT,
    (
        part("criterion", "loss", "Loss"),
        part("generator", "search", "Search"),
        part("metric", "right", "Right"),
        part("schedule", "turns", "Turns"),
        part("router", "halves", "Halves"),
        part("backbone", "mine", "backbone"),
        part("positions", "nowhere", "Nowhere"),
        part("tracker", "book", "Book"),
        part("transform", "cleaner", "Cleaner"),
        part("transform", "cut.to", "cut", {"letters": Option(9, "Letters kept.", minimum=1)}),
        part("merger", "mean", "Mean"),
    ),
    kinds=(Kind("merger", f"{__name__}:Merger", "Makes one of many."),),
)
