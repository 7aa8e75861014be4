"""The noise that a diffusion target is trained with (DDPM, Ho et al. 2020; cosine schedule, Nichol & Dhariwal 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from ofa_modality_motion.options import LEVELS
from ofacore.protocols import DenseSegment, Options

_OFFSET = 0.008
_LARGEST_BETA = 0.999


@lru_cache(maxsize=1)
def signal_shares() -> np.ndarray:
    """float64 [LEVELS]: product of 1 - beta up to each step, ``squaredcos_cap_v2``."""
    moments = np.arange(LEVELS + 1) / LEVELS
    curve = np.cos((moments + _OFFSET) / (1 + _OFFSET) * np.pi / 2) ** 2
    return np.cumprod(1.0 - np.minimum(1.0 - curve[1:] / curve[:-1], _LARGEST_BETA))


def noised(clean: np.ndarray, noise: np.ndarray, step: int) -> np.ndarray:
    """sqrt(a) clean + sqrt(1 - a) noise, with the signal share a of the step; dtype of ``clean``."""
    share = signal_shares()[step]
    return (np.sqrt(share) * clean + np.sqrt(1.0 - share) * noise).astype(clean.dtype)


class DiffusionCorruption:
    """``diffusion``: one random level for the whole segment; frames without loss stay clean at level 0."""

    def __init__(self, options: Options) -> None:
        self._options = dict(options)

    def __call__(self, segment: DenseSegment, rng: np.random.Generator) -> DenseSegment:
        """Noised frames and their levels; labels stay, later segments see the clean frames."""
        if segment.labels is None:
            return segment
        clean, mask = segment.labels["clean"], segment.labels["mask"]
        step = int(rng.integers(LEVELS))
        noise = rng.standard_normal(clean.shape, dtype=np.float32)
        frames = np.where(mask, noised(clean, noise, step), clean)
        level = np.where(mask.any(axis=1), step + 1, 0)
        context: Mapping[str, np.ndarray] = {"frames": clean, "level": np.zeros_like(level)}
        return replace(segment, features={"frames": frames, "level": level}, context=context)
