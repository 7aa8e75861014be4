"""Which objects are in the picture: all boxes of a scene with their kinds, rows ``img, boxes, kinds, names``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from ofa_starter import Row, Splits
from ofa_task_grounding.data.compositions import scenes


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``img`` (uint8 [64, 64, 3]), ``boxes``, ``kinds`` (category of each box), ``names``, left to right."""
    return scenes(cache, seed)


def baseline(splits: Splits) -> list[Row]:
    """The mean training box with the most frequent kind, for every picture."""
    mean = np.mean([box for row in splits["train"] for box in row["boxes"]], axis=0).tolist()
    kind, _ = Counter(kind for row in splits["train"] for kind in row["kinds"]).most_common(1)[0]
    return [{"boxes": [mean], "kinds": [kind]} for _ in splits["test"]]
