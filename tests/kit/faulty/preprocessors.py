"""Preprocessors, heads and slot types of TOUCH with one fault each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import nn

from ofacore.protocols import Artifact
from tests.kit.faulty.touch import Squares, Touch, TouchHead


class BareError(Touch):
    def encode(self, value, slot, ctx):
        return super().encode(
            [value["numbers"]] if not isinstance(value, list) else value, slot, ctx
        )


class AcceptsAll(Touch):
    def encode(self, value, slot, ctx):
        return super().encode(value if isinstance(value, list) else [0.0], slot, ctx)


class ForgetsAttribute(Touch):
    def encode(self, value, slot, ctx):
        value = value * int(slot.attributes.get("unit", "1"))
        return super().encode(value, slot, ctx)


class LosesScale(Touch):
    def decode(self, hypothesis, slot, ctx):
        return [float(number) for number in hypothesis.value]


class RawReference(Touch):
    """Takes twice the numbers with ``double``, but judges by the numbers as they were given."""

    def encode(self, value, slot, ctx):
        twice = slot.attributes.get("double") and isinstance(value, list)
        return super().encode([2 * number for number in value] if twice else value, slot, ctx)

    def as_decoded(self, value, slot, ctx):
        super().encode(value, slot, ctx)
        return value


class AnyReference(Touch):
    """Takes whatever it is given for a reference."""

    def as_decoded(self, value, slot, ctx):
        return value[: slot.attributes["max_length"]] if isinstance(value, list) else value


class UnlikeForms(Touch):
    """Halves what comes as 32-bit numbers, as answers do, and no reference."""

    def as_decoded(self, value, slot, ctx):
        super().encode(value, slot, ctx)
        return [round(number, 6) for number in value[: slot.attributes["max_length"]]]

    def as_compared(self, value, slot, ctx):
        return (
            value
            if value == [round(number, 6) for number in value]
            else [number / 2 for number in value]
        )


class FitsAgain(Touch):
    """Takes the scale of what joins for all."""

    def grow(self, artifact, values, rng):
        return Artifact.of_json("scale.json", 2 * float(artifact.json("scale.json")))


class GlobalNoise(Touch):
    def encode(self, value, slot, ctx):
        (part,) = super().encode(value, slot, ctx)
        noise = np.random.standard_normal(part.shape).astype(np.float32)
        return [replace(part, features={"numbers": part.features["numbers"] + noise})]


class ChangesValue(Touch):
    def encode(self, value, slot, ctx):
        if isinstance(value, list):
            value[0] += 1.0
        return super().encode(value, slot, ctx)


class HoldsLambda(Touch):
    def __init__(self, options):
        super().__init__(options)
        self.function = lambda number: number


class RemembersRows(Touch):
    def __init__(self, options):
        super().__init__(options)
        self.seen = 0

    def encode(self, value, slot, ctx):
        self.seen += 1
        (part,) = super().encode(value, slot, ctx)
        return [replace(part, features={"numbers": part.features["numbers"] + self.seen})]


class LearnsInPlace(Touch):
    def fit(self, values, rng):
        self.learned = 2.0
        return super().fit(values, rng)

    def bind(self, vocabulary, artifact):
        super().bind(vocabulary, artifact)
        self.scale *= getattr(self, "learned", 1.0)


class ShowsNothing(Touch):
    def render(self, value, ctx=None):
        return None


class ShowsALink(Touch):
    def render(self, value, ctx=None):
        return '<img src="https://example.org/x.png">'


class Hoards(Touch):
    def __init__(self, options):
        super().__init__(options)
        self.hoard = []

    def encode(self, value, slot, ctx):
        self.hoard.append(bytes(2000))
        return super().encode(value, slot, ctx)


class MixingHead(TouchHead):
    def forward(self, hidden, ctx):
        found = super().forward(hidden, ctx)
        return found - found.mean()


class NotFinite(Squares):
    def errors(self, prediction, labels):
        return super().errors(prediction, labels) * float("nan")


def list_is_element(value):
    return isinstance(value, list)


def raising_is_element(value):
    return len(value) > 0 and isinstance(value[0], float)


class UntoldBlocks(Touch):
    def encode(self, value, slot, ctx):
        (segment,) = super().encode(value, slot, ctx)
        return [replace(segment, blocks=("touch/levels",))]


class SendsItsFile(Touch):
    def fit(self, values, rng):
        made = super().fit(values, rng)
        table = Artifact.written("table.bin", lambda path: path.write_bytes(bytes(1 << 17)))
        return made.with_file(table.path("table.bin"))

    def bind(self, vocabulary, artifact):
        super().bind(vocabulary, artifact)
        self.table = artifact.path("table.bin").read_bytes()


class SpoilingNoise:
    def __init__(self, options):
        pass

    def __call__(self, segment, rng):
        segment.features["numbers"][:] = rng.normal(size=len(segment.features["numbers"]))
        return segment


class GamblingNoise(SpoilingNoise):
    def __call__(self, segment, rng):
        features = {"numbers": np.random.normal(size=segment.shape).astype(np.float32)}
        return replace(segment, features=features)


class SavesNothing(Touch):
    def save(self, value, ctx, path):
        """Does nothing."""


class SavesByKey(Touch):
    def save(self, value, ctx, path):
        return {".touch": "json"}[path.suffix]


class PublishesADict(Touch):
    def encode(self, value, slot, ctx):
        ctx.published[slot.name] = {"longest": 3}
        return super().encode(value, slot, ctx)


class HandsOn(Touch):
    """Builds on the labels of the probe."""

    handed = ()

    def bind_with(self, vocabulary, artifact, others):
        self.other = others["probe"]
        self.bind(vocabulary, artifact)

    def handed_on(self, name, value, slot):
        return list(self.handed)


class HandsOnWords(HandsOn):
    handed = ("soft",)


class HandsOnNumbers(HandsOn):
    handed = (1,)


class NoPositionwise(nn.Module):
    """A head that does not say which states it gets."""

    def forward(self, hidden, ctx):
        return hidden
