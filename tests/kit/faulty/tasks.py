"""A task family without fault on the slot type PROBE, and what its presets refer to."""

from __future__ import annotations

from dataclasses import replace

from ofacore.plugin import CONTRACT, MetricUse, TaskManifest, TaskPreset
from tests.kit.faulty.metrics import Closeness
from tests.kit.faulty.touch import component


def starter():
    return {"train": [{"a": 1, "b": 2}]}


def baseline(splits):
    return [{"b": 0} for _ in splits["test"]]


PRESET = TaskPreset(
    "next",
    ("[PROBE:a] -> [PROBE:b]",),
    "The label behind a label.",
    {"a": "a label", "b": "the next label"},
    metrics=(MetricUse("touch", "b"),),
    closed_sets={"b": (0, 1, 2, 3)},
    data=f"{__name__}:starter",
    baseline=f"{__name__}:baseline",
    baseline_doc="zero",
)


def family(**changes):
    """A manifest, correct but for what is changed in its preset."""
    return TaskManifest(
        "labels",
        CONTRACT,
        (replace(PRESET, **changes),),
        (component("metric", Closeness),),
        "Labels.",
    )


MANIFEST = family()
NOT_CALLABLE = 3
