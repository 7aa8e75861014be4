"""Which region does a text describe: scenes in which one object is named, rows ``img, cap, box``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ofa_starter import SPLITS, Row, Splits
from ofa_task_grounding.data.compositions import named, scenes


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``img`` (uint8 [64, 64, 3]), ``cap``, ``box`` ([x0, y0, x1, y1] in pixels), ``boxes`` of all objects.

    Scenes and choices are drawn with ``seed``.
    """
    found = scenes(cache, seed)
    return {
        split: named(found[split], np.random.default_rng([seed, 1, SPLITS.index(split)]))
        for split in SPLITS
    }


def baseline(splits: Splits) -> list[Row]:
    """The mean training box."""
    mean = np.mean([row["box"] for row in splits["train"]], axis=0).tolist()
    return [{"box": mean} for _ in splits["test"]]
