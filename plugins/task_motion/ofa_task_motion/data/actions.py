"""What is the person doing: windows of twelve frames, rows ``motion, action``."""

from __future__ import annotations

from pathlib import Path

from ofa_starter import Row, Splits, empty_splits, majority, prepared
from ofa_task_motion.data.clips import ACTIONS, PYBULLET, as_clips, clips, windows

NAMES = tuple(name.replace("_", " ") for name in ACTIONS)
LENGTH = 12
STRIDES = (1, 2)
"""Frames from one window to the next, in training and in test."""
VALIDATED = 8
"""Every so many training windows one validates; it overlaps with its neighbours. The test part of a clip does not."""


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``motion`` (``frames`` float32 [12, 42], ``fps``, ``skeleton``) and ``action``; ``seed`` has no effect."""
    return as_clips(prepared("actions", lambda: _rows(cache), sources=(PYBULLET,), cache=cache))


def _rows(cache: Path | None) -> Splits:
    splits = empty_splits()
    for name, clip in clips(cache).items():
        action = name.replace("_", " ")
        for number, window in enumerate(windows(clip, LENGTH, STRIDES[0], tested=False)):
            split = "valid" if number % VALIDATED == VALIDATED - 1 else "train"
            splits[split].append({"motion": window, "action": action})
        splits["test"] += [
            {"motion": w, "action": action} for w in windows(clip, LENGTH, STRIDES[1], tested=True)
        ]
    return splits


def baseline(splits: Splits) -> list[Row]:
    """The most frequent action."""
    return majority(splits, "action")
