"""A sound and phonemes for checks and documentation."""

from __future__ import annotations

from typing import Any

import numpy as np

RATE = 16_000


def sound() -> dict[str, Any]:
    """A tone that rises from 200 to 800 Hz in 0.4 seconds: ``array`` float32 [6400], ``sampling_rate`` 16000."""
    seconds = np.arange(int(0.4 * RATE)) / RATE
    phase = 2 * np.pi * (200 * seconds + 750 * seconds**2)
    return {"array": (0.5 * np.sin(phase)).astype(np.float32), "sampling_rate": RATE}


def phonemes() -> str:
    """How 'hello world' is pronounced."""
    return "HH AH0 L OW1 | W ER1 L D"
