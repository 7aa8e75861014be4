"""Samples in memory, and what is done with them: one channel, another rate, another speed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torchaudio.transforms import Resample


@dataclass(frozen=True)
class Wave:
    """A piece of sound."""

    samples: np.ndarray
    """float32 [channels, samples], about -1 to 1."""
    rate: int
    """Samples a second."""

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.samples.shape[1] / self.rate

    def mono(self) -> np.ndarray:
        """float32 [samples]: the mean of all channels."""
        return self.samples.mean(axis=0, dtype=np.float32)

    def cut(self, start: float, end: float | None) -> Wave:
        """The part from ``start`` to ``end`` seconds."""
        first = round(start * self.rate)
        last = None if end is None else round(end * self.rate)
        return replace(self, samples=self.samples[:, first:last])


def resampled(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """float32 [samples] at another rate, by windowed sinc interpolation (`torchaudio.transforms.Resample`)."""
    if rate == wanted:
        return samples
    import torch

    return _resampler(rate, wanted)(torch.from_numpy(samples)).numpy()


@lru_cache(maxsize=16)
def _resampler(rate: int, wanted: int) -> Resample:
    """With its filter, whose making takes longer than its use."""
    import torch
    from torchaudio.transforms import Resample

    return Resample(rate, wanted, dtype=torch.float32)


def faster(samples: np.ndarray, factor: float) -> np.ndarray:
    """Played ``factor`` times as fast, pitch included (Ko et al. 2015): float32 [samples / factor]."""
    if factor == 1.0:
        return samples
    import torch
    from torchaudio.functional import speed

    steps = 100
    changed, _ = speed(torch.from_numpy(samples), steps, round(factor * steps) / steps)
    return changed.numpy()


def as_floats(samples: np.ndarray) -> np.ndarray:
    """float32 of -1 to 1 from samples of any type of numbers; unsigned ones have their silence in the middle.

    Numbers of 64 bits, which no sound file has, are taken for samples of 16 bits.
    """
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    kind = np.int16 if samples.dtype.itemsize == 8 else samples.dtype
    info = np.iinfo(kind)
    half = (float(info.max) - float(info.min) + 1) / 2
    middle = half if info.min == 0 else 0.0
    return ((samples.astype(np.float64) - middle) / half).astype(np.float32)
