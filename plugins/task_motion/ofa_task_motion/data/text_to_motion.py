"""Motion of a described action: windows of up to 24 frames, rows ``text, motion, action``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ofa_starter import Row, Splits, empty_splits, majority, prepared
from ofa_task_motion.data.clips import ACTIONS, PYBULLET, as_clips, clips, windows

LENGTH = 24
TESTED_LENGTH, TESTED = 16, 12
"""Frames of test windows, and how many each clip gives at most, so that long clips do not outweigh short ones."""
VALIDATED = 8
"""Every so many training windows one validates; it overlaps with its neighbours."""


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``text``, ``motion`` (``frames`` float32 [at most 24, 42], ``fps``, ``skeleton``), ``action``.

    ``seed`` has no effect.
    """
    return as_clips(
        prepared(
            "text_to_motion", lambda: _rows(cache), sources=(PYBULLET,), version=3, cache=cache
        )
    )


def _rows(cache: Path | None) -> Splits:
    splits = empty_splits()
    for name, clip in clips(cache).items():
        columns = {"text": f"a person does {ACTIONS[name]}", "action": name.replace("_", " ")}
        for number, window in enumerate(windows(clip, LENGTH, 1, tested=False)):
            split = "valid" if number % VALIDATED == VALIDATED - 1 else "train"
            splits[split].append({**columns, "motion": window})
        tested = list(windows(clip, TESTED_LENGTH, 1, tested=True))
        chosen = np.unique(np.linspace(0, len(tested) - 1, TESTED).round().astype(int))
        splits["test"] += [{**columns, "motion": tested[index]} for index in chosen]
    return splits


def baseline(splits: Splits) -> list[Row]:
    """One training clip for every text: the first of the most frequent action, cut to the length of the reference."""
    frequent = majority(splits, "action")[0]["action"]
    clip = next(row["motion"] for row in splits["train"] if row["action"] == frequent)
    lengths = [len(row["motion"]["frames"]) for row in splits["test"]]
    return [{"motion": {**clip, "frames": clip["frames"][:length]}} for length in lengths]
