"""Learning-rate curves: the factor on every parameter group's rate, a pure function of the step."""

from __future__ import annotations

import math

from ofacore.config.train_section import LrConfig


def warmup_steps(config: LrConfig, steps: int) -> int:
    """Length of the warm-up; a value below 1 is a share of all steps."""
    return round(config.warmup * steps) if config.warmup < 1 else int(config.warmup)


def lr_factor(config: LrConfig, step: int, steps: int) -> float:
    """Factor in [0, 1] for a step counted from 0 out of ``steps``.

    The first step of the warm-up already learns; the last step of a decay stands just before ``end``. Steps past the
    planned end keep ``end``.
    """
    warmup = warmup_steps(config, steps)
    if step < warmup:
        return (step + 1) / warmup
    if config.name == "constant":
        return 1.0
    begin = max(warmup, steps - round(config.decay * steps)) if config.name == "wsd" else warmup
    progress = min(1.0, max(0.0, (step - begin) / max(1, steps - begin)))
    return config.end + (1 - config.end) * _remaining(config, progress)


def _remaining(config: LrConfig, progress: float) -> float:
    """Share of the way down that is still ahead: 1 at the start, 0 at the end."""
    if config.name == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if config.name == "polynomial":
        return float((1 - progress) ** config.power)
    return 1 - progress
