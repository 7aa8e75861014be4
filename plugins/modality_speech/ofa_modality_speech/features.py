"""Samples to features by `torchaudio`: Kaldi filterbank as OFASys reads, log-mel as it writes."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torchaudio.transforms import MelSpectrogram

WINDOW, HOP, F_MIN, F_MAX = 1024, 256, 0.0, 8000.0
"""Samples of a window and between two windows, and the band in hertz, of log-mel features."""
FLOOR = 1e-5
"""Smallest magnitude of a mel band."""
_KALDI_SCALE = 2.0**15
_KALDI_WINDOW = 0.025
_KALDI_HOP = 0.010


def fbank(samples: np.ndarray, rate: int, bins: int) -> np.ndarray:
    """Kaldi filterbank, float32 [frames, bins]: windows of 25 ms every 10 ms, samples scaled to 16 bits, no dither.

    Args:
        samples: float32 [samples]; fewer than a window are filled up with silence.
        rate: Samples a second.
        bins: Mel bands.
    """
    import torch
    from torchaudio.compliance import kaldi

    shortest = int(rate * _KALDI_WINDOW)
    padded = np.pad(samples, (0, max(0, shortest - len(samples))))
    wave = torch.from_numpy(padded)[None] * _KALDI_SCALE
    found = kaldi.fbank(wave, num_mel_bins=bins, sample_frequency=float(rate))
    return found.numpy()


def log_mel(samples: np.ndarray, rate: int, bins: int) -> np.ndarray:
    """Natural logarithm of mel magnitudes, float32 [1 + samples // 256, bins]: windows of 1024 samples, 0 to 8000 Hz.

    Bands are those of Slaney, as HiFi-GAN and Tacotron 2 have them.
    """
    import torch

    shortest = WINDOW // 2 + 1
    padded = np.pad(samples, (0, max(0, shortest - len(samples))))
    mels = mel_transform(rate, bins)(torch.from_numpy(padded))
    return mels.clamp(min=FLOOR).log().T.numpy()


@lru_cache(maxsize=8)
def mel_transform(rate: int, bins: int) -> MelSpectrogram:
    """From samples [n] to mel magnitudes [bins, frames]."""
    from torchaudio.transforms import MelSpectrogram

    return MelSpectrogram(
        rate,
        n_fft=WINDOW,
        win_length=WINDOW,
        hop_length=HOP,
        f_min=F_MIN,
        f_max=min(F_MAX, rate / 2),
        n_mels=bins,
        power=1.0,
        norm="slaney",
        mel_scale="slaney",
    )


def log_mel_frames(samples: int) -> int:
    """Frames that `log_mel` makes of so many samples."""
    return 1 + max(samples, WINDOW // 2 + 1) // HOP
