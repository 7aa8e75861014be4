"""Sounds for people: a player, and a picture of their frequencies over time."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from ofa_modality_speech.features import log_mel
from ofa_modality_speech.loading import Features, Loader
from ofa_modality_speech.saving import sound_bytes
from ofa_modality_speech.wave import Wave, resampled

_LONGEST = 60.0
"""Seconds of a sound that a report holds."""
_RATE, _BINS = 22_050, 80
_WIDEST = 600
_COLOURS = np.array(
    [(13, 8, 71), (126, 3, 168), (204, 71, 120), (248, 149, 64), (240, 249, 33)], float
)
"""Of silence to the loudest, as plasma of matplotlib has them."""


def player(value: Any) -> str:
    """``<audio>`` with the first minute, and ``<img>`` with its log-mel spectrogram."""
    loaded = Loader("audio", _LONGEST).load(value)
    if isinstance(loaded, Features):
        return _image(loaded.frames)
    samples = resampled(loaded.mono(), loaded.rate, _RATE)
    one = replace(loaded, samples=samples[None], rate=_RATE)
    return _audio(one) + _image(log_mel(samples, _RATE, _BINS))


def _audio(wave: Wave) -> str:
    content = base64.b64encode(sound_bytes(wave, "FLAC")).decode()
    return f'<audio controls src="data:audio/flac;base64,{content}"></audio>'


def _image(frames: np.ndarray) -> str:
    """Low numbers at the bottom, time to the right."""
    low, high = float(frames.min()), float(frames.max())
    shares = (frames - low) / max(high - low, 1e-6)
    places = shares.T[::-1] * (len(_COLOURS) - 1)
    knots = np.arange(len(_COLOURS))
    channels = [np.interp(places, knots, _COLOURS[:, channel]) for channel in range(3)]
    picture = Image.fromarray(np.stack(channels, axis=2).astype(np.uint8))
    if picture.width > _WIDEST:
        picture = picture.resize((_WIDEST, picture.height))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    content = base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/png;base64,{content}" alt="spectrogram">'
