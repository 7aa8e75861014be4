"""Log-mel frames to samples: Griffin-Lim, or a HiFi-GAN by the path of its folder."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ofa_modality_speech.features import F_MAX, FLOOR, HOP, WINDOW
from ofacore.plugin import PluginError

if TYPE_CHECKING:
    from torch import Tensor

GRIFFIN_LIM = "griffin_lim"
_ITERATIONS = 32
_FEWEST = 4
"""Frames that a window needs around it."""


def waveform(frames: np.ndarray, rate: int, vocoder: str = GRIFFIN_LIM) -> np.ndarray:
    """float32 [samples] of log-mel frames [frames, bins], as `features.log_mel` makes them.

    Args:
        frames: Natural logarithms of mel magnitudes.
        rate: Samples a second.
        vocoder: ``griffin_lim``, or the folder of a HiFi-GAN (`hifigan.load_hifigan`).

    Raises:
        PluginError: The HiFi-GAN cannot be used, or is one for other frames or for another rate.
    """
    import torch

    mels = torch.from_numpy(np.ascontiguousarray(frames, np.float32))
    with torch.no_grad():
        if vocoder == GRIFFIN_LIM:
            return _griffin_lim(mels, rate)
        network = _neural(vocoder)
        _check_fits(network.config, vocoder, rate, mels.shape[1])
        return network(mels).float().numpy()


def _check_fits(config: Any, folder: str, rate: int, bins: int) -> None:
    """Samples at another rate would be played too slowly or too fast."""
    if config.sampling_rate != rate:
        raise PluginError(
            f"option vocoder: '{folder}' makes {config.sampling_rate} samples a second, and the slot is to have "
            f"{rate}; write sample_rate={config.sampling_rate} in the slot, or take another vocoder"
        )
    hop = math.prod(config.upsample_rates)
    if hop != HOP or config.model_in_dim != bins:
        raise PluginError(
            f"option vocoder: '{folder}' makes {hop} samples of frames of {config.model_in_dim} numbers; "
            f"frames of this model have {bins}, and stand for {HOP} samples"
        )


@lru_cache(maxsize=2)
def _neural(folder: str) -> Any:
    from ofa_modality_speech.hifigan import load_hifigan

    return load_hifigan(folder)


def _griffin_lim(mels: Tensor, rate: int) -> np.ndarray:
    """Phases that fit the magnitudes (Griffin & Lim 1984, fast variant of Perraudin et al. 2013)."""
    from torch.nn.functional import pad
    from torchaudio.transforms import GriffinLim, InverseMelScale

    lacking = max(0, _FEWEST - len(mels))
    padded = pad(mels, (0, 0, 0, lacking), value=math.log(FLOOR))
    bands = InverseMelScale(
        n_stft=WINDOW // 2 + 1,
        n_mels=mels.shape[1],
        sample_rate=rate,
        f_max=min(F_MAX, rate / 2),
        norm="slaney",
        mel_scale="slaney",
    )
    phases = GriffinLim(
        n_fft=WINDOW, n_iter=_ITERATIONS, hop_length=HOP, power=1.0, rand_init=False
    )
    found: np.ndarray = phases(bands(padded.T.exp())).numpy()
    return found[: max(1, len(mels) - 1) * HOP]
