"""One plugin in two versions: the second renamed its slot type, components, preset and a parameter."""

from __future__ import annotations

import numpy as np
from torch import nn

from ofacore.parts import AskedValues
from ofacore.plugin import CONTRACT, Component, ModalityManifest, SlotType, TaskManifest, TaskPreset
from ofacore.protocols import DenseSegment, RowError, TargetSpec


class Numbers:
    """Rows of two numbers."""

    def __init__(self, options):
        pass

    def fit(self, values, rng):
        return None

    def blocks(self, artifact):
        return ()

    def bind(self, vocabulary, artifact):
        pass

    def encode(self, value, slot, ctx):
        numbers = np.asarray(value, np.float32).reshape(-1, 1)
        if len(numbers) != 2:
            raise RowError("expected two numbers")
        labels = {"values": numbers} if slot.loss else None
        return [DenseSegment({"values": numbers}, (2,), labels)]

    def expect(self, slot, ctx):
        ctx.published.put(slot.name, AskedValues(1))
        return TargetSpec(length=2)

    def decode(self, hypothesis, slot, ctx):
        return hypothesis.value.flatten().tolist()

    def render(self, value, ctx=None):
        return str(value)


class Old(nn.Module):
    """Version 0.1 of the adapter."""

    axes = 1

    def __init__(self, context):
        super().__init__()
        self.turn = nn.Linear(1, context.hidden)

    @staticmethod
    def length(shape, options):
        return shape[0]

    @staticmethod
    def coordinates(shape, options):
        return np.repeat(np.arange(shape[0])[:, None], 3, 1)

    def embed(self, features, shapes):
        return self.turn(features["values"])


class New(Old):
    """Version 0.2: another name for its only layer."""

    def __init__(self, context):
        nn.Module.__init__(self)
        self.rotate = nn.Linear(1, context.hidden)

    def embed(self, features, shapes):
        return self.rotate(features["values"])

    @staticmethod
    def upgrade_state(state, version):
        assert version == "0.1" and set(state) == {"turn.weight", "turn.bias"}
        return {name.replace("turn.", "rotate."): value for name, value in state.items()}


class Forgot(New):
    """Version 0.2 of an author who forgot."""

    upgrade_state = None


class Raises(New):
    """Version 0.2 with a fault."""

    @staticmethod
    def upgrade_state(state, version):
        return {"rotate.weight": state["rotate.weight"]}


def is_value(value):
    return not isinstance(value, list) or not isinstance(value[0], list)


def manifest(
    slot: str, name: str, adapter: type, old: tuple[str, str] | None = None
) -> ModalityManifest:
    uses = {"adapter": name, "head": name, "criterion": "squared_error", "generator": "one_shot"}
    slots, names = ((old[0],), (old[1],)) if old else ((), ())
    return ModalityManifest(
        "aging",
        CONTRACT,
        (SlotType(slot, "Two numbers.", name, "two numbers", is_value, aliases=slots),),
        (
            Component("preprocessor", name, f"{__name__}:Numbers", "Numbers.", uses, aliases=names),
            Component("adapter", name, f"{__name__}:{adapter.__name__}", "Numbers.", aliases=names),
            Component(
                "head",
                name,
                "ofacore.parts:ValuesHead",
                "Numbers.",
                options={"width": 1},
                aliases=names,
            ),
        ),
    )


def task(slot: str, preset: str, old: str = "") -> TaskManifest:
    line = f"[{slot}:before] -> [{slot}:after]"
    aliases = (old,) if old else ()
    return TaskManifest(
        "agingtask", CONTRACT, (TaskPreset(preset, (line,), "Turn.", aliases=aliases),)
    )


FIRST, FIRST_TASK = manifest("PAIR", "pair", Old), task("PAIR", "turn_pair")
SECOND, SECOND_TASK = (
    manifest("DUO", "duo", New, ("PAIR", "pair")),
    task("DUO", "turn_duo", "turn_pair"),
)
FORGOT = manifest("DUO", "duo", Forgot, ("PAIR", "pair"))
RAISES = manifest("DUO", "duo", Raises, ("PAIR", "pair"))
