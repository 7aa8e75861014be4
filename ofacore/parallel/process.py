"""Settings of this process that make training on a CPU faster and change no result that matters."""

from __future__ import annotations

import ctypes
import sys

import torch

from ofacore.machine import processors

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory instead of giving it back; True if it agreed.

    Without it large tensors, freed and allocated in every step, are faulted in page by page each time.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 256 * 2**20))
    return all([mallopt(name, value) == 1 for name, value in settings])


def fast_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bf16 matrices in hardware; elsewhere they are often many times slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    found = torch.cpu.get_capabilities()
    return bool(found.get("amx_bf16") or found.get("avx512_bf16"))


def flushes_denormals() -> bool:
    """Whether this thread computes with denormal numbers as zeros; threads started from now on do the same."""
    tiny = torch.full((1,), torch.finfo(torch.float32).tiny)
    return float(tiny * 0.5) == 0.0


def tune_process(threads: int = 0) -> None:
    """Set threads, flush denormal numbers to zero (softmax backward makes many), keep freed memory.

    Two OpenMP teams that spin on the same core slow each other down; ``GOMP_SPINCOUNT=10000`` in the environment
    limits the spinning, but it is read when the process starts and so cannot be set here.

    Args:
        threads: Threads of torch, at most one for each processor; 0 leaves torch's own choice.
    """
    if threads:
        torch.set_num_threads(min(threads, processors()))
    torch.set_flush_denormal(True)
    keep_freed_memory()
