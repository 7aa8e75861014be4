"""Number formats: which one a run computes in, and what a person is told about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ofacore.parallel.agreement import everyones, of_the_model
from ofacore.parallel.process import described_bf16, fast_bf16

Precision = Literal["auto", "bf16", "fp32"]
DTYPES: Mapping[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class RunFormat:
    """The format that the weights of a run take while it computes; they are kept and saved in fp32 in any case."""

    name: str
    """``bf16`` or ``fp32``."""
    told: str
    """One line for a person: what was chosen, and why."""

    @property
    def dtype(self) -> torch.dtype:
        """As torch calls it."""
        return DTYPES[self.name]


def choose_format(precision: Precision, begun: str, device: torch.device) -> RunFormat:
    """The format of a run. All its processes must call this together.

    Args:
        precision: What the configuration says. ``auto``: as the run began; a new one takes bf16 where the devices of
            all its processes are fast at it.
        begun: Format that the run was in when it was saved; empty: it begins.
        device: Where this process computes.
    """
    if precision != "auto":
        changed = f"; until now in {begun}" if begun not in ("", precision) else ""
        return RunFormat(
            precision, f"computing in {precision} (train.precision: {precision}{changed})"
        )
    units = f"bf16 {described_bf16(device)}"
    if begun:
        return RunFormat(
            begun, f"computing in {begun} (train.precision: auto, as this run began; {units})"
        )
    fast = [mine for data in everyones(fast_bf16(device)) for mine in of_the_model(data)]
    name = "bf16" if all(fast) else "fp32"
    return RunFormat(name, f"computing in {name} (train.precision: auto; {units})")


def format_of_checkpoint(state: Mapping[str, Any], stored: Iterable[str]) -> str:
    """The format that a run was in when it was saved.

    Args:
        state: What the checkpoint says of itself.
        stored: Names of what it holds of the optimiser. Checkpoints that do not tell the format have masters there if
            it was bf16.
    """
    told = state.get("precision")
    if told in DTYPES:
        return str(told)
    return "bf16" if any(name.endswith("|master") for name in stored) else "fp32"
