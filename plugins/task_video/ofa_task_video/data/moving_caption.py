"""What happens in a clip, rows ``video, cap``."""

from __future__ import annotations

from pathlib import Path

from ofa_starter import Row, Splits, majority
from ofa_task_video.data.columns import only
from ofa_task_video.data.digits import moving_digits


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``video`` (uint8 [8, 32, 32]) and ``cap``, such as "the 3 moves left"; ``seed`` has no effect."""
    return only(moving_digits(cache), "video", "cap")


def baseline(splits: Splits) -> list[Row]:
    """The most frequent caption."""
    return majority(splits, "cap")
