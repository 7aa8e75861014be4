"""A modality TABLE whose values are written with the tokens of text, and row transforms; public imports alone."""

from __future__ import annotations

import html

from ofacore.plugin import CONTRACT, Attribute, Component, ModalityManifest, SlotType
from ofacore.protocols import RowError, TargetSpec, TokenSegment


def is_table(value):
    """A list of rows, each a list of texts."""
    if not isinstance(value, list) or not value:
        return False
    return all(
        isinstance(row, list) and all(isinstance(cell, str) for cell in row) for row in value
    )


def written(value):
    """Cells parted by |, rows by ;."""
    if not is_table(value):
        raise RowError(f"{value!r:.60} is no list of rows")
    return " ; ".join(" | ".join(str(cell) for cell in row) for row in value)


class TablePreprocessor:
    """Its tokens are those of the preprocessor ``text``."""

    def __init__(self, options):
        self.text = None

    def fit(self, values, rng):
        return None

    def blocks(self, artifact):
        return ()

    def bind(self, vocabulary, artifact):
        raise AssertionError("it builds on others")

    def bind_with(self, vocabulary, artifact, others):
        self.text = others["text"]

    def handed_on(self, name, value, slot):
        return [written(value)]

    def encode(self, value, slot, ctx):
        ids = self.text.tokens(
            written(value), slot, ctx, uncased=bool(slot.attributes.get("small"))
        )
        return [TokenSegment(ids, self.text.blocks)]

    def expect(self, slot, ctx):
        return TargetSpec(self.text.blocks)

    def decode(self, hypothesis, slot, ctx):
        text = self.text.decode(hypothesis, slot, ctx)
        return [[cell.strip() for cell in row.split("|")] for row in text.split(";")]

    def render(self, value, ctx=None):
        return f"<pre>{html.escape(written(value))}</pre>"


class Undeclared(TablePreprocessor):
    """Reaches for what its component does not name."""

    def bind_with(self, vocabulary, artifact, others):
        self.text = others["category"]


class Deaf(TablePreprocessor):
    """Names another and cannot reach it."""

    bind_with = None


USES = {"adapter": "token", "head": "token", "criterion": "cross_entropy", "generator": "token"}


def table():
    """A sample."""
    return [["red", "cat"], ["blue", "dog"]]


def manifest(name="tables", target="TablePreprocessor", builds_on=("text",), more=()):
    """The plugin, or a variant of it."""
    return ModalityManifest(
        name,
        CONTRACT,
        (
            SlotType(
                "TABLE",
                "A table of texts.",
                "table",
                "a list of rows",
                is_table,
                (Attribute("small", doc="Small letters."),),
                sample=f"{__name__}:table",
            ),
        ),
        (
            Component(
                "preprocessor",
                "table",
                f"{__name__}:{target}",
                "As text.",
                USES,
                builds_on=builds_on,
            ),
            *more,
        ),
    )


MANIFEST = manifest()
