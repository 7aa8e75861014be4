"""A modality without fault: TOUCH, a list of pressures, read and written."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from numbers import Real

import numpy as np
import torch
from torch import nn

from ofacore.parts import normal_rows, row_generators
from ofacore.plugin import CONTRACT, Attribute, Component, ModalityManifest, Option, SlotType
from ofacore.protocols import (
    Artifact,
    DenseSegment,
    HeadContext,
    Hypothesis,
    Loss,
    RowError,
    TargetSpec,
)

LONGEST = 16


def is_touch(value):
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(number, Real) for number in value)
    )


def sample():
    return [0.1, 0.5, 0.9, 0.4]


class Touch:
    """Numbers as they are, divided by the largest one seen."""

    def __init__(self, options):
        self.options, self.scale = options, 1.0

    def fit(self, values, rng):
        return Artifact.of_json(
            "scale.json", float(max((max(value) for value in values if is_touch(value)), default=1))
        )

    def blocks(self, artifact):
        return ()

    def bind(self, vocabulary, artifact):
        self.scale = float(artifact.json("scale.json"))

    def encode(self, value, slot, ctx):
        if not is_touch(value):
            raise RowError(f"column '{slot.name}': expected a list of numbers, got {value!r:.40}")
        numbers = np.array(value, np.float32)[: slot.attributes.get("max_length")] / np.float32(
            self.scale
        )
        if slot.side == "source":
            return [DenseSegment({"numbers": numbers}, (len(numbers),))]
        labels = {"numbers": numbers} if slot.loss else None
        return [
            DenseSegment(
                {"numbers": np.zeros_like(numbers)},
                (len(numbers),),
                labels,
                context={"numbers": numbers},
            )
        ]

    def expect(self, slot, ctx):
        known = ctx.row.get(slot.name)
        return TargetSpec(open=False, length=len(known) if known else 4)

    def decode(self, hypothesis, slot, ctx):
        return [float(number) for number in hypothesis.value * self.scale]

    def render(self, value, ctx=None):
        return f"<code>{escape(str(value))}</code>"


class TouchAdapter(nn.Module):
    def __init__(self, context):
        super().__init__()
        self.layer = nn.Linear(1, context.hidden)
        self.places = nn.Embedding(LONGEST, context.hidden)

    @staticmethod
    def length(shape, options):
        return shape[0]

    @staticmethod
    def coordinates(shape, options):
        return np.repeat(np.arange(shape[0])[:, None], 3, axis=1)

    def embed(self, features, shapes):
        places = torch.cat([torch.arange(count) for (count,) in shapes])
        return self.layer(features["numbers"][:, None]) + self.places(places)


class TouchHead(nn.Module):
    positionwise = False

    def __init__(self, context):
        super().__init__()
        self.layer = nn.Linear(context.hidden, 1)

    def forward(self, hidden, ctx):
        return self.layer(hidden)[:, 0]


class Squares:
    """Squared error, summed."""

    scope = "position"
    needs = frozenset()
    batch_coupled = False

    def __init__(self, options):
        self.options = options

    def count(self, labels):
        return len(labels["numbers"])

    def errors(self, prediction, labels):
        guess = prediction[:, 0] if prediction.dim() == 2 else prediction
        return (guess.float() - labels["numbers"].float()).square()

    def __call__(self, prediction, labels, ctx):
        parts = self.errors(prediction, labels).split(list(ctx.lengths))
        values = torch.stack([part.sum() for part in parts])
        return Loss(values, {"squares": values.detach()})


class TouchGenerator:
    def __init__(self, options):
        self.options = options

    def draw(self, lengths, generators):
        return 0.1 * normal_rows(generators, lengths, 1)[:, 0]

    def __call__(self, session, requests, generator):
        slot = requests[0].slot
        lengths = tuple(request.spec.length for request in requests)
        shapes = [(length,) for length in lengths]
        produced, generators = [], row_generators(requests)
        for _ in range(self.options["n_best"]):
            noise = self.draw(lengths, generators)
            hidden = session.denoise({"numbers": noise}, slot.adapter, shapes)
            produced.append(session.predict(slot.head, hidden, HeadContext(lengths)))
        if not all(request.final for request in requests):
            session.commit({"numbers": produced[0]}, slot.adapter, shapes)
        split = [[part.numpy() for part in numbers.split(list(lengths))] for numbers in produced]
        return [tuple(map(Hypothesis, row)) for row in zip(*split, strict=True)]


OPTIONS = {"generator": {"n_best": Option(1, "How many values are drawn.", minimum=1)}}
ATTRIBUTE = Attribute("max_length", "int", LONGEST, "most numbers", minimum=1, maximum=LONGEST)


def component(kind, built, **further):
    return Component(
        kind, "touch", f"{built.__module__}:{built.__qualname__}", "of touch", **further
    )


def touch(
    preprocessor=Touch,
    adapter=TouchAdapter,
    head=TouchHead,
    criterion=Squares,
    generator=TouchGenerator,
    corruption=None,
    **changes,
):
    """A manifest, correct but for what is changed."""
    slot = SlotType(
        "TOUCH",
        "Pressures.",
        "touch",
        "a list of numbers",
        is_touch,
        attributes=(ATTRIBUTE,),
        sample=f"{__name__}:sample",
    )
    parts = {"adapter": adapter, "head": head, "criterion": criterion, "generator": generator}
    parts |= {"corruption": corruption} if corruption else {}
    uses = dict.fromkeys(parts, "touch")
    components = [
        component("preprocessor", preprocessor, uses=uses),
        *(component(k, b, options=OPTIONS.get(k, {})) for k, b in parts.items()),
    ]
    return ModalityManifest(
        "touch", CONTRACT, (replace(slot, **changes),), tuple(components), "Touch."
    )


MANIFEST = touch()
