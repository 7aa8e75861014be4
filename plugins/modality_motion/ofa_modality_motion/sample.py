"""A clip for checks and documentation."""

from __future__ import annotations

import numpy as np


def clip() -> np.ndarray:
    """Six numbers that swing for two seconds at 12 frames a second: float32 [24, 6]."""
    phase = np.linspace(0, 4 * np.pi, 24)[:, None] + np.arange(6)
    return np.sin(phase).astype(np.float32)
