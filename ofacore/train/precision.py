"""Number formats: which one the weights take."""

from __future__ import annotations

from typing import Literal

import torch

from ofacore.parallel.process import fast_bf16


def weight_dtype(precision: Literal["auto", "bf16", "fp32"], device: torch.device) -> torch.dtype:
    """Format of the weights: bf16 (with fp32 masters in the optimiser) or fp32."""
    if precision == "auto":
        return torch.bfloat16 if fast_bf16(device) else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32
