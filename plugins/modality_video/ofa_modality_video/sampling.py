"""At which moments of a clip frames are taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ofacore.protocols import RowError


@dataclass(frozen=True)
class Sampling:
    """What a slot asks for; times in seconds."""

    frames: int
    """Most frames."""
    fps: float | None = None
    """Frames a second; None: the frames lie evenly over the whole span."""
    start: float | None = None
    end: float | None = None


def span(sampling: Sampling, duration: float, column: str) -> tuple[float, float]:
    """Begin and end of the part that frames are taken from, within a clip of ``duration`` seconds.

    Raises:
        RowError: Nothing of the clip lies between start and end.
    """
    start = sampling.start or 0.0
    end = duration if sampling.end is None else min(sampling.end, duration)
    if start < 0 or start >= duration:
        raise RowError(
            f"column '{column}': start={start:g} lies outside of the clip, which has {duration:g} s"
        )
    if end <= start:
        raise RowError(f"column '{column}': end={end:g} is not behind start={start:g} (seconds)")
    return start, end


def moments(
    sampling: Sampling, begin: float, end: float, rng: np.random.Generator | None
) -> np.ndarray:
    """Times float64 [n] in seconds, ascending, within ``begin`` to ``end``; n is at most ``sampling.frames``.

    Without ``fps`` the span is cut into ``frames`` equal segments, and each gives the frame at its middle, with ``rng``
    at a random place of it (Wang et al. 2016, Temporal Segment Networks). With ``fps`` frames follow one another at
    that rate; where there are more than ``frames``, a window from the middle, with ``rng`` from anywhere, is taken
    (Feichtenhofer et al. 2019, SlowFast).
    """
    if sampling.fps is None:
        shares = np.full(sampling.frames, 0.5) if rng is None else rng.random(sampling.frames)
        return begin + (np.arange(sampling.frames) + shares) * (end - begin) / sampling.frames
    step = 1.0 / sampling.fps
    available = max(1, int((end - begin) * sampling.fps + 1e-6))
    count = min(sampling.frames, available)
    spare = max(0.0, (end - begin) - count * step)
    first = 0.0
    if available > count:
        first = spare * _share(rng)
    width = min(step, end - begin)
    phase = width * _share(rng)
    return begin + first + phase + np.arange(count) * step


def _share(rng: np.random.Generator | None) -> float:
    """How far into what is left to choose: the middle without ``rng``."""
    return 0.5 if rng is None else rng.random()
