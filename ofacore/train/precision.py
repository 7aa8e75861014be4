"""Number formats: which one the weights take, and what the processor is good at."""

from __future__ import annotations

from typing import Literal

import torch


def fast_bf16(device: torch.device) -> bool:
    """Does this device multiply bf16 matrices in hardware? Elsewhere bf16 is slower than fp32, often many times."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        found = torch.cpu.get_capabilities()
        return bool(found.get("amx_bf16") or found.get("avx512_bf16"))
    return False


def weight_dtype(precision: Literal["auto", "bf16", "fp32"], device: torch.device) -> torch.dtype:
    """Format of the weights: bf16 (with fp32 masters in the optimiser) or fp32."""
    if precision == "auto":
        return torch.bfloat16 if fast_bf16(device) else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32
