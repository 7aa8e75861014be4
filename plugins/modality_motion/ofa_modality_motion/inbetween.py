"""In-betweening: the first and last frames are given, those in the middle are to be filled in."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from ofa_modality_motion.clip import Clip
from ofacore.protocols import RowError

_SPAN = re.compile(r"(\d+)(?:-(\d+))?")
_PARTS = ("past", "missing", "next")

Spans = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def parse_spans(text: str, column: str) -> Spans:
    """Smallest and largest number of past, missing and next frames of ``10/5-40/1``.

    Raises:
        RowError: The text is written otherwise.
    """
    matches = [_SPAN.fullmatch(part) for part in text.split("/")]
    if len(matches) != len(_PARTS) or not all(matches):
        raise RowError(
            f"column '{column}': inbetween={text} is not past/missing/next, such as 10/5-40/1"
        )
    past, missing, following = ((int(m[1]), int(m[2] or m[1])) for m in matches if m)
    return past, missing, following


def with_known_ends(clip: Clip, text: str, rng: np.random.Generator | None, column: str) -> Clip:
    """A stretch of the clip with its ends marked as known; ``rng`` None: from the start, largest numbers that fit.

    Raises:
        RowError: The clip is too short for the smallest numbers.
    """
    spans = parse_spans(text, column)
    smallest, length = sum(low for low, _ in spans), len(clip.frames)
    if length < smallest or spans[1][1] == 0:
        raise RowError(
            f"column '{column}': {length} frames, fewer than the {smallest} of inbetween={text}"
        )
    past, missing, following = _draw(spans, length, rng)
    total = past + missing + following
    start = int(rng.integers(length - total + 1)) if rng is not None else 0
    known = np.ones(total, bool)
    known[past : past + missing] = False
    return replace(clip, frames=clip.frames[start : start + total], known=known)


def _draw(spans: Spans, length: int, rng: np.random.Generator | None) -> list[int]:
    """Numbers within the spans whose sum is at most ``length``."""
    spare, numbers = length - sum(low for low, _ in spans), []
    for low, high in spans:
        high = min(high, low + spare)
        number = int(rng.integers(low, high + 1)) if rng is not None else high
        spare -= number - low
        numbers.append(number)
    return numbers
