"""Schedulers of `diffusers` by short names, set up for the noise of `ofa_modality_motion.noise`."""

from __future__ import annotations

import warnings
from typing import Any

from ofa_modality_motion.options import LEVELS, SCHEDULERS
from ofacore.plugin import PluginError, suggest

_CLIPPING = ("DDIMScheduler", "DDPMScheduler")


def build_scheduler(name: str, steps: int) -> Any:
    """A scheduler with its time steps set; it takes predictions of the clean sample and clips nothing.

    Raises:
        PluginError: No scheduler of that name, or steps outside 1 to 1000.
    """
    import diffusers

    if name not in SCHEDULERS:
        known = ", ".join(SCHEDULERS)
        raise PluginError(
            f"generation.scheduler: no '{name}' among {known}; {suggest(name, SCHEDULERS)}".rstrip(
                "; "
            )
        )
    if not 1 <= steps <= LEVELS:
        raise PluginError(f"generation.steps={steps} must be between 1 and {LEVELS}")
    kind = SCHEDULERS[name]
    options: dict[str, Any] = {"clip_sample": False} if kind in _CLIPPING else {}
    scheduler = getattr(diffusers, kind)(
        num_train_timesteps=LEVELS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        **options,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        scheduler.set_timesteps(steps)
    return scheduler
