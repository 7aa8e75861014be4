"""Where a digit is at the end of a clip, rows ``video, box``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ofa_starter import Row, Splits
from ofa_task_video.data.columns import only
from ofa_task_video.data.digits import moving_digits


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``video`` (uint8 [8, 32, 32]) and ``box`` ([x0, y0, x1, y1] in pixels) of the clips whose last frame holds
    the whole digit; ``seed`` has no effect."""
    splits = only(moving_digits(cache), "video", "box")
    found: Splits = {}
    for split, rows in splits.items():
        found[split] = [row for row in rows if row["box"] is not None]
    return found


def baseline(splits: Splits) -> list[Row]:
    """The mean training box."""
    mean = np.mean([row["box"] for row in splits["train"]], axis=0).tolist()
    return [{"box": mean} for _ in splits["test"]]
