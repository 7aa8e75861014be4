"""A value that is written in units of another one: what it needs is published where the other is encoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ofacore.parts import AskedValues
from ofacore.plugin import (
    CONTRACT,
    Attribute,
    Component,
    MetricUse,
    ModalityManifest,
    Option,
    SlotType,
    TaskManifest,
    TaskPreset,
)
from ofacore.protocols import DenseSegment, RowError, TargetSpec

LINE = "[SPAN:span] -> [LEVEL:level]"


@dataclass(frozen=True)
class Span:
    """What a gauge shows."""

    low: float
    """Where it is empty."""
    high: float
    """Where it is full."""


def is_span(value):
    """Two numbers."""
    return isinstance(value, list) and len(value) == 2


def read_span(text):
    """``0 to 2``."""
    low, _, high = text.partition(" to ")
    return [float(low), float(high)]


def is_level(value):
    """One number."""
    return isinstance(value, float)


class Spans:
    """A span is read, and publishes itself."""

    def __init__(self, options):
        pass

    def fit(self, values, rng):
        return None

    def blocks(self, artifact):
        return ()

    def bind(self, vocabulary, artifact):
        pass

    def encode(self, value, slot, ctx):
        if not is_span(value):
            raise RowError(f"{value!r:.40} is no span; write [low, high]")
        ctx.published.put(slot.name, Span(*value))
        return [_segment(np.array([value]))]

    def expect(self, slot, ctx):
        raise RowError("a span is read alone")

    def decode(self, hypothesis, slot, ctx):
        raise RowError("a span is read alone")

    def render(self, value, ctx=None):
        return str(value)


class Levels(Spans):
    """A level is learned as a share of its span."""

    def encode(self, value, slot, ctx):
        if not is_level(value):
            raise RowError(f"{value!r:.40} is no level; write a number such as 0.5")
        span = ctx.published.one(slot.attributes["of"], Span)
        share = np.array([[(value - span.low) / (span.high - span.low)]], np.float32)
        nothing = np.zeros((1, 2), np.float32)
        return [_segment(nothing, {"values": share} if slot.loss else None)]

    def expect(self, slot, ctx):
        ctx.published.put(slot.name, AskedValues(2))
        return TargetSpec(open=False, length=1)

    def decode(self, hypothesis, slot, ctx):
        span = ctx.published.one(slot.attributes["of"], Span)
        return float(span.low + hypothesis.value[0, 0] * (span.high - span.low))


def _segment(values, labels=None):
    known = np.full((1, 1), float(labels is None), np.float32)
    return DenseSegment({"values": values.astype(np.float32), "known": known}, (1,), labels=labels)


class GaugeAdapter(nn.Module):
    """One position."""

    def __init__(self, context):
        super().__init__()
        self.mix = nn.Linear(3, context.hidden)

    @staticmethod
    def length(shape, options):
        return 1

    @staticmethod
    def coordinates(shape, options):
        return np.zeros((1, 3), np.int64)

    def embed(self, features, shapes):
        both = torch.cat([features["values"], features["known"]], 1)
        return self.mix(both.to(self.mix.weight.dtype))


class LevelError:
    """Mean distance of levels."""

    higher_is_better = False

    def __init__(self, options):
        self.errors = []

    def update(self, predictions, references, rows):
        self.errors += [abs(a - b) for a, b in zip(predictions, references, strict=True)]

    def compute(self):
        return {"level_error": float(np.mean(self.errors)) if self.errors else float("nan")}

    def merge(self, other):
        self.errors += other.errors

    def items(self):
        return self.errors


def rows():
    """Levels in spans that differ."""
    found = [{"span": [0.0, float(i)], "level": float(i) / 2} for i in range(1, 13)]
    return {"train": found[:8], "valid": found[8:], "test": found[8:]}


def full(splits):
    """The upper end of each span."""
    return [{"level": row["span"][1]} for row in splits["test"]]


def sample_span():
    """Half a metre."""
    return [0.0, 0.5]


def sample_level():
    """Nearly half of it."""
    return 0.2


_USES = {
    "adapter": "gauge",
    "head": "gauge",
    "criterion": "squared_error",
    "generator": "one_shot",
}
_OF = Attribute("of", "slot", doc="The span that it is a share of.", choices=("SPAN",))
MANIFEST = ModalityManifest(
    "gauges",
    CONTRACT,
    (
        SlotType(
            "SPAN",
            "A span.",
            "span",
            "[low, high]",
            is_span,
            sample=f"{__name__}:sample_span",
            parse=f"{__name__}:read_span",
        ),
        SlotType(
            "LEVEL",
            "A level.",
            "level",
            "a number",
            is_level,
            (_OF,),
            sample=f"{__name__}:sample_level",
        ),
    ),
    (
        Component("preprocessor", "span", f"{__name__}:Spans", uses={"adapter": "gauge"}),
        Component("preprocessor", "level", f"{__name__}:Levels", uses=_USES),
        Component("adapter", "gauge", f"{__name__}:GaugeAdapter"),
        Component(
            "head", "gauge", "ofacore.parts:ValuesHead", options={"width": Option(1, "Of a level.")}
        ),
        Component("metric", "level_error", f"{__name__}:LevelError"),
    ),
)
TASKS = TaskManifest(
    "gauge_tasks",
    CONTRACT,
    (
        TaskPreset(
            "level",
            (LINE,),
            metrics=(MetricUse("level_error", "level"),),
            data=f"{__name__}:rows",
            baseline=f"{__name__}:full",
            baseline_doc="full",
        ),
    ),
)
