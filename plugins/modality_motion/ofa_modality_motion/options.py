"""Options of the generator of motion. Part of the manifest: nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping

from ofacore.plugin import Option

LEVELS = 1000
"""Noise levels; to the adapter level 0 is clean and step t of the schedule is level t + 1."""
SCHEDULERS: Mapping[str, str] = {
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "dpmsolver": "DPMSolverMultistepScheduler",
    "dpmsolver_single": "DPMSolverSinglestepScheduler",
    "unipc": "UniPCMultistepScheduler",
}
"""Name -> class of `diffusers`."""
DIFFUSION_OPTIONS: Mapping[str, Option] = {
    "scheduler": Option("ddim", "Noise scheduler.", choices=tuple(SCHEDULERS)),
    "steps": Option(50, "Denoising steps.", minimum=1, maximum=LEVELS),
    "guidance": Option(1.0, "Scale of classifier-free guidance; 1: off.", minimum=0, maximum=1e3),
    "n_best": Option(1, "Number of clips that are drawn.", minimum=1, maximum=100_000),
}
