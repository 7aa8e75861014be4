"""Sounds to files and to their content."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from ofa_modality_speech.loading import Loader
from ofa_modality_speech.wave import Wave

FORMATS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3"}


def save_sound(value: Any, path: Path) -> None:
    """Write a sound in the format of the file's ending, 16 bits a sample where it has such.

    Raises:
        ValueError: Another ending, or the value is features without samples.
    """
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise ValueError(f"'{path}': a sound is written as {', '.join(FORMATS)}")
    wave = Loader(path.name).load(value)
    if not isinstance(wave, Wave):
        raise ValueError(f"'{path}': these are features, which have no samples to write")
    content = sound_bytes(wave, form)
    path.write_bytes(content)


def sound_bytes(wave: Wave, form: str) -> bytes:
    """Content of a file of a format of `soundfile`; what goes beyond -1 to 1 is scaled down."""
    import soundfile

    loudest = float(np.abs(wave.samples).max(initial=0.0))
    scaled = wave.samples / max(1.0, loudest)
    buffer = io.BytesIO()
    soundfile.write(buffer, scaled.T, wave.rate, format=form)
    return buffer.getvalue()
