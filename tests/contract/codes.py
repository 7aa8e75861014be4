"""A plugin with public imports alone: pictures as grids of codes, tags of positions, masks for tokens of any type."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from ofacore.parts import AskedValues, TokensPreprocessor, ValuesPreprocessor
from ofacore.plugin import CONTRACT, Attribute, Component, ModalityManifest, SlotType
from ofacore.protocols import (
    MASK,
    Artifact,
    Block,
    DenseSegment,
    HeadContext,
    Hypothesis,
    PositionGrid,
    RowError,
    TargetSpec,
)

KINDS = tuple("abcdefgh")
CODEC = 1 << 20
"""Bytes of the made-up codec."""


def cells(rows, columns):
    """(0, y, x) of every cell, row by row."""
    y, x = np.divmod(np.arange(rows * columns), columns)
    return np.stack([np.zeros_like(y), y, x], axis=1)


def is_grid(value):
    return isinstance(value, list) and bool(value) and all(isinstance(line, str) for line in value)


@dataclass(frozen=True)
class Lines:
    """How wide the picture is that was asked for."""

    columns: int


class Codes(TokensPreprocessor):
    """A picture as lines of letters, each letter a code; its size stands in the attributes."""

    block, tokens = "codes/picture", KINDS

    def to_tokens(self, value):
        if not is_grid(value) or len(set(map(len, value))) != 1:
            raise RowError(f"{value!r:.40} is no picture; write equally long lines of letters")
        return list("".join(value))

    def encode(self, value, slot, ctx):
        (segment,) = super().encode(value, slot, ctx)
        return [replace(segment, open=False, coordinates=cells(len(value), len(value[0])))]

    def expect(self, slot, ctx):
        rows, columns = ctx.row.get("size") or (slot.attributes["rows"], slot.attributes["columns"])
        ctx.published.put(slot.name, Lines(columns))
        spec = super().expect(slot, ctx)
        return replace(spec, open=False, length=rows * columns, coordinates=cells(rows, columns))

    def decode(self, hypothesis, slot, ctx):
        text = "".join(super().decode(hypothesis, slot, ctx))
        columns = ctx.published.one(slot.name, Lines).columns
        return [text[start : start + columns] for start in range(0, len(text), columns)]

    def from_tokens(self, tokens):
        return "".join(tokens)


class Words(TokensPreprocessor):
    """Letters of any number."""

    block, tokens = "codes/words", KINDS

    def to_tokens(self, value):
        return list(value)

    def from_tokens(self, tokens):
        return "".join(tokens)


class CellAdapter(nn.Module):
    """Codes with an embedding of their own, on a grid."""

    grid = PositionGrid(8, 8)

    def __init__(self, context):
        super().__init__()
        self.table = nn.Embedding(context.vocabulary.size, context.hidden)

    @staticmethod
    def length(shape, options):
        return shape[0]

    @staticmethod
    def coordinates(shape, options):
        return np.repeat(np.arange(shape[0])[:, None], 3, axis=1)

    def embed(self, features, shapes):
        return self.table(features["tokens"])


class Mask:
    """Masked prediction: some tokens are hidden, and predicted where they stand."""

    shift = False

    def __init__(self, options):
        self.share = options["share"]

    def __call__(self, segment, rng):
        hidden = rng.random(len(segment.ids)) < max(self.share, rng.random())
        hidden[rng.integers(len(hidden))] = True
        inputs = np.where(hidden, MASK, segment.ids)
        return replace(segment, inputs=inputs, weights=hidden, shift=False, open=False)


class MaskInPlace(Mask):
    """Spoils what it is given."""

    def __call__(self, segment, rng):
        found = super().__call__(replace(segment, ids=segment.ids.copy()), rng)
        segment.ids[:] = MASK
        return found


class MaskByClock(Mask):
    """Asks the wrong generator."""

    def __call__(self, segment, rng):
        return super().__call__(segment, np.random.default_rng())


class Unmask:
    """Fills masked tokens in some passes, the surest first (MaskGIT, Chang et al. 2022)."""

    def __init__(self, options):
        pass

    def __call__(self, session, requests, generator):
        slot, spec, rows = requests[0].slot, requests[0].spec, len(requests)
        shapes, context = [(spec.length,)] * rows, HeadContext((spec.length,) * rows, spec.blocks)
        tokens = torch.full((rows, spec.length), MASK, device=session.device)
        for left in reversed(range(spec.length)):
            hidden = session.denoise({"tokens": tokens.flatten()}, slot.adapter, shapes)
            prediction = session.predict(slot.head, hidden, context)
            words = prediction.ids > MASK
            logs, columns = prediction.log_probs[:, words].max(-1)
            self.looked(logs)
            logs = logs.view(rows, -1).masked_fill(tokens != MASK, -torch.inf)
            chosen = prediction.ids[words][columns].view(rows, -1)
            surest = logs.topk(int((tokens[0] == MASK).sum()) - left).indices
            tokens = tokens.scatter(1, surest, chosen.gather(1, surest))
        if not requests[0].final:
            session.commit({"tokens": tokens.flatten()}, slot.adapter, shapes)
        return [(Hypothesis(row.cpu().numpy()),) for row in tokens]

    @staticmethod
    def looked(logs):
        """For tests."""


class Tags:
    """A letter for each of so many positions: a dense segment whose labels are tokens."""

    def __init__(self, options):
        self.first = 0

    def fit(self, values, rng):
        return None

    def blocks(self, artifact):
        return (Block("codes/tags", len(KINDS)),)

    def bind(self, vocabulary, artifact):
        self.first = vocabulary.offset("codes/tags")

    def encode(self, value, slot, ctx):
        if not isinstance(value, str) or not value or not set(value) <= set(KINDS):
            raise RowError(f"column '{slot.name}': {value!r:.40} is no text of the letters a to h")
        features = {
            "values": np.zeros((len(value), 1), np.float32),
            "known": np.zeros((len(value), 1), np.float32),
        }
        ids = np.array([self.first + KINDS.index(letter) for letter in value], np.int64)
        return [DenseSegment(features, (len(value),), labels={"ids": ids}, blocks=("codes/tags",))]

    def expect(self, slot, ctx):
        ctx.published.put(slot.name, AskedValues(1))
        return TargetSpec(
            ("codes/tags",), open=False, length=slot.attributes["length"], shift=False
        )

    def decode(self, hypothesis, slot, ctx):
        return "".join(KINDS[number] for number in hypothesis.value - self.first)

    def render(self, value, ctx=None):
        return f"<code>{value}</code>"


class TagAdapter(nn.Module):
    def __init__(self, context):
        super().__init__()
        self.places = nn.Embedding(16, context.hidden)

    @staticmethod
    def length(shape, options):
        return shape[0]

    @staticmethod
    def coordinates(shape, options):
        return np.repeat(np.arange(shape[0])[:, None], 3, axis=1)

    def embed(self, features, shapes):
        return self.places(torch.cat([torch.arange(count) for (count,) in shapes]))


class Sound(ValuesPreprocessor):
    """Numbers that a codec of some size changes: it is a file, mapped where it is first needed."""

    def to_array(self, value):
        return np.asarray(value, np.float32)[:, None]

    def fit(self, values, rng):
        table = rng.random(CODEC // 4, dtype=np.float32)
        return Artifact.written("codec.npy", lambda path: np.save(path, table))

    def bind(self, vocabulary, artifact):
        self.artifact, self.table = artifact, None

    def encode(self, value, slot, ctx):
        if self.table is None:
            self.table = np.load(self.artifact.path("codec.npy"), mmap_mode="r")
        (segment,) = super().encode(value, slot, ctx)
        moved = segment.features["values"] + self.table[: len(value), None]
        return [replace(segment, features={**segment.features, "values": moved})]

    def __getstate__(self):
        return {**self.__dict__, "table": None}


class GreedySound(Sound):
    """Sends the whole codec to every worker."""

    def __getstate__(self):
        return {**self.__dict__, "table": None if self.table is None else np.array(self.table)}


class SoundAdapter(nn.Module):
    def __init__(self, context):
        super().__init__()
        self.mix = nn.Linear(2, context.hidden)

    @staticmethod
    def length(shape, options):
        return shape[0]

    @staticmethod
    def coordinates(shape, options):
        return np.repeat(np.arange(shape[0])[:, None], 3, axis=1)

    def embed(self, features, shapes):
        return self.mix(torch.cat([features["values"], features["known"]], 1))


def picture():
    return ["ab", "cd"]


def tags():
    return "abc"


def sound():
    return [0.5, 0.25]


def is_tags(value):
    return isinstance(value, str)


def is_sound(value):
    return isinstance(value, list) and all(isinstance(number, float) for number in value)


WRITTEN = {"adapter": "token", "head": "token", "criterion": "cross_entropy", "generator": "token"}
MASKED = {**WRITTEN, "corruption": "mask", "generator": "unmask"}
TAGGED = {**WRITTEN, "adapter": "tags", "generator": "one_shot"}
SIZE = (
    Attribute("rows", "int", 2, "Lines of a picture that is generated.", minimum=1),
    Attribute("columns", "int", 2, "Codes in a line.", minimum=1),
)


def manifest(corruption=Mask, codec=Sound, **uses):
    """The plugin, with other parts where a test asks for them."""
    here = __name__
    slots = (
        SlotType(
            "CODES",
            "Codes.",
            "codes",
            "lines of letters",
            is_grid,
            attributes=SIZE,
            sample=f"{here}:picture",
        ),
        SlotType("WORD", "Letters.", "words", "letters", is_tags, sample=f"{here}:tags"),
        SlotType(
            "HIDDEN",
            "Codes.",
            "hidden",
            "lines of letters",
            is_grid,
            attributes=SIZE,
            sample=f"{here}:picture",
        ),
        SlotType(
            "TAGS",
            "Tags.",
            "tags",
            "letters",
            is_tags,
            attributes=(Attribute("length", "int", 3, "How many."),),
            sample=f"{here}:tags",
        ),
        SlotType("SOUND", "Sounds.", "sound", "numbers", is_sound, sample=f"{here}:sound"),
    )
    components = (
        Component(
            "preprocessor", "codes", f"{here}:Codes", "Codes in cells.", uses={**WRITTEN, **uses}
        ),
        Component("preprocessor", "words", f"{here}:Words", "Letters.", uses=WRITTEN),
        Component("preprocessor", "hidden", f"{here}:Codes", "Codes that are masked.", uses=MASKED),
        Component("preprocessor", "tags", f"{here}:Tags", "Tags.", uses=TAGGED),
        Component(
            "preprocessor",
            "sound",
            f"{here}:{codec.__name__}",
            "Sounds.",
            uses={"adapter": "sound"},
        ),
        Component("adapter", "cells", f"{here}:CellAdapter", "Cells."),
        Component("adapter", "tags", f"{here}:TagAdapter", "Places."),
        Component("adapter", "sound", f"{here}:SoundAdapter", "Sounds."),
        Component(
            "corruption", "mask", f"{here}:{corruption.__name__}", "Masks.", options={"share": 0.4}
        ),
        Component("generator", "unmask", f"{here}:Unmask", "The surest token first."),
    )
    return ModalityManifest("codes", CONTRACT, slots, components, "Codes, tags, masks.")


MANIFEST = manifest()


def changing(kind, change):
    """An `expect` that says something else."""
    whole = kind.expect

    def expect(self, slot, ctx):
        return replace(whole(self, slot, ctx), **change)

    return expect
