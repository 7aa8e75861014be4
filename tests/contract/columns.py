"""A modality whose four components need the same number of columns, and whose fitting needs a unit."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ofacore.parts import AskedValues, SquaredError, ValuesHead, ValuesPreprocessor
from ofacore.plugin import CONTRACT, Attribute, Component, ModalityManifest, Option, SlotType
from ofacore.protocols import Artifact

FACTORS = {"V": 1.0, "mV": 0.001}


def is_columns(value):
    """Rows of numbers."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], list)


def sample():
    """Two rows of three numbers."""
    return [[1.0, 2.0, 3.0], [2.0, 0.0, 1.0]]


class Columns(ValuesPreprocessor):
    """Numbers in the base unit."""

    def __init__(self, options):
        super().__init__({**options, "width": options["columns"]})

    def fit_slots(self, values, rng):
        largest = 0.0
        for slot, value in values:
            assert slot.plain is None
            largest = max(largest, FACTORS[slot.attributes["unit"]] * float(np.max(value)))
        plain = {"mean": [0.0] * self.width, "scale": [1.0] * self.width, "length": 2}
        return Artifact.of_json("statistics.json", {**plain, "largest": largest})

    def expect(self, slot, ctx):
        spec = super().expect(slot, ctx)
        assert ctx.published.one(slot.name, AskedValues).width == self.width
        return spec


class ColumnsAdapter(nn.Module):
    """One position a row."""

    def __init__(self, context):
        super().__init__()
        self.layer = nn.Linear(context.options["columns"] + 1, context.hidden)

    @staticmethod
    def length(shape, options):
        return shape[0]

    @staticmethod
    def coordinates(shape, options):
        return np.repeat(np.arange(shape[0])[:, None], 3, axis=1)

    def embed(self, features, shapes):
        return self.layer(torch.cat([features["values"], features["known"]], dim=1))


class ColumnsHead(ValuesHead):
    """As many numbers as there are columns."""

    def __init__(self, context):
        super().__init__(
            type(context)(**{**vars(context), "options": {"width": context.options["columns"]}})
        )


class ColumnsError(SquaredError):
    """Knows the number of columns too."""

    def __init__(self, options):
        super().__init__(options)
        self.columns = options["columns"]

    def __call__(self, prediction, labels, ctx):
        assert prediction.shape[1] == self.columns
        return super().__call__(prediction, labels, ctx)


_SHARED = Option(3, "Numbers in a row.", minimum=1, shared=True)
_USES = {"adapter": "columns", "head": "columns", "criterion": "columns", "generator": "one_shot"}
_UNIT = Attribute("unit", "choice", "V", "Of the numbers.", choices=tuple(FACTORS))
MANIFEST = ModalityManifest(
    "columns",
    CONTRACT,
    (
        SlotType(
            "COLUMNS",
            "Numbers.",
            "columns",
            "rows of numbers",
            is_columns,
            (_UNIT,),
            sample=f"{__name__}:sample",
        ),
    ),
    (
        Component(
            "preprocessor", "columns", f"{__name__}:Columns", "", _USES, {"columns": _SHARED}
        ),
        Component(
            "preprocessor", "columns_too", f"{__name__}:Columns", "", _USES, {"columns": _SHARED}
        ),
        Component("adapter", "columns", f"{__name__}:ColumnsAdapter", options={"columns": 3}),
        Component("head", "columns", f"{__name__}:ColumnsHead", options={"columns": 3}),
        Component("criterion", "columns", f"{__name__}:ColumnsError", options={"columns": 3}),
    ),
)
