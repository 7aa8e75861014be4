"""Which frames of a clip a slot takes: resampling, trimming, windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ofa_modality_motion.clip import Clip
from ofa_modality_motion.skeleton import Skeleton
from ofacore.protocols import RowError

MIN_LENGTH, MAX_LENGTH = 10, 64


@dataclass(frozen=True)
class Cut:
    """The attributes of a slot that decide on frames."""

    min_length: int = MIN_LENGTH
    max_length: int = MAX_LENGTH
    sample_rate: float | None = None
    """Frames per second to resample to."""
    soft_trim: float | None = None
    """Share of the frames dropped on average at both ends together, in training."""
    window: bool = False

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> Cut:
        """From the typed attributes of a slot; those that are absent or None keep their defaults."""
        names = ("min_length", "max_length", "sample_rate", "soft_trim", "window")
        return cls(**{name: attributes[name] for name in names if attributes.get(name) is not None})

    def length(self, frames: float, fps: float | None) -> int:
        """Frames left in evaluation of a clip of ``frames``."""
        if self.sample_rate and fps:
            frames = frames * self.sample_rate / fps
        return int(max(1, min(round(frames), self.max_length)))


def resampled(clip: Clip, fps: float | None, column: str) -> Clip:
    """The clip at ``fps`` frames per second by linear interpolation; known frames by the nearest.

    Angles of a skeleton go the shorter way round: from 179 to -179 degrees is a step of 2.

    Raises:
        RowError: The clip does not say its own rate.
    """
    if not fps or clip.fps == fps:
        return clip
    if not clip.fps:
        raise RowError(
            f"column '{column}': sample_rate={fps:g} needs the clip's own rate; give a dict with 'fps'"
        )
    count = max(1, round(len(clip.frames) * fps / clip.fps))
    moments = np.minimum(np.arange(count) * clip.fps / fps, len(clip.frames) - 1)
    before = np.floor(moments).astype(int)
    after, share = np.minimum(before + 1, len(clip.frames) - 1), (moments - before)[:, None]
    earlier, later = clip.frames[before], clip.frames[after]
    frames = earlier * (1 - share) + (later - _turns(clip, later - earlier)) * share
    known = None if clip.known is None else clip.known[np.rint(moments).astype(int)]
    return replace(clip, frames=frames, fps=fps, known=known)


def _turns(clip: Clip, steps: np.ndarray) -> np.ndarray:
    """Whole turns in degrees, [frames, dims], that are in steps of angles; 0 for other numbers."""
    if not isinstance(clip.skeleton, Skeleton):
        return np.zeros_like(steps)
    angles = np.array([name.endswith("rotation") for name in clip.skeleton.channel_names])
    return np.where(angles, 360.0 * np.rint(steps / 360.0), 0.0)


def cut_clip(clip: Clip, cut: Cut, rng: np.random.Generator | None, column: str) -> Clip:
    """Resampled and trimmed; ``rng`` None means evaluation, where windows are central and soft trimming rests.

    Raises:
        RowError: Fewer frames than ``min_length``.
    """
    clip = resampled(clip, cut.sample_rate, column)
    if len(clip.frames) < cut.min_length:
        raise RowError(
            f"column '{column}': {len(clip.frames)} frames, fewer than min_length={cut.min_length}; "
            "min_length=0 accepts every clip"
        )
    start, stop = 0, len(clip.frames)
    if cut.soft_trim and rng is not None:
        start, stop = _soft(stop, cut, rng)
    spare = max(0, stop - start - cut.max_length)
    if cut.window:
        start += int(rng.integers(spare + 1)) if rng is not None else spare // 2
    stop = min(stop, start + cut.max_length)
    known = None if clip.known is None else clip.known[start:stop]
    return replace(clip, frames=clip.frames[start:stop], known=known)


def _soft(length: int, cut: Cut, rng: np.random.Generator) -> tuple[int, int]:
    """First and last frame after a Poisson number was dropped at each end, ``min_length`` frames kept."""
    head, tail = rng.poisson(length * float(cut.soft_trim or 0.0) / 2, size=2)
    spare = length - max(1, cut.min_length)
    head = min(int(head), spare)
    return head, length - min(int(tail), spare - head)
