"""Settings of this process that make training on a CPU faster and change no result that matters."""

from __future__ import annotations

import ctypes
import os
import sys

import torch

from ofacore.ground.errors import UserError
from ofacore.ground.machine import processors

BF16_VARIABLE = "OFA_BF16"
"""Environment variable that overrules what the processor has: ``on`` or ``off``."""

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def compute_device() -> torch.device:
    """Where this process computes: its GPU, by ``LOCAL_RANK``, or the CPU where no GPU can be used."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())


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


def bf16_units(device: torch.device) -> tuple[str, ...]:
    """What a device has for multiplying bf16 matrices in hardware, as the vendor names it; empty: nothing."""
    if device.type == "cuda":
        return ("cuda",) if torch.cuda.is_bf16_supported(including_emulation=False) else ()
    if device.type != "cpu":
        return ()
    found = torch.cpu.get_capabilities()
    return tuple(unit for unit in ("amx_bf16", "avx512_bf16") if found.get(unit))


def forced_bf16() -> bool | None:
    """What the environment variable ``OFA_BF16`` says in place of the hardware; None: nothing.

    Raises:
        UserError: It is neither ``on`` nor ``off``.
    """
    said = os.environ.get(BF16_VARIABLE, "")
    if said not in ("", "on", "off"):
        problem = f"environment variable {BF16_VARIABLE}={said[:40]!r}: expected on or off"
        raise UserError(f"{problem}; leave it unset to go by the processor")
    return None if not said else said == "on"


def fast_bf16(device: torch.device) -> bool:
    """Whether bf16 counts as fast on a device: ``OFA_BF16`` says so, or the hardware multiplies it.

    Elsewhere products in bf16 are right as well, but often many times slower than in fp32.

    Raises:
        UserError: ``OFA_BF16`` is neither ``on`` nor ``off``.
    """
    forced = forced_bf16()
    return bool(bf16_units(device)) if forced is None else forced


def described_bf16(device: torch.device) -> str:
    """What `fast_bf16` goes by, for a person."""
    units = ", ".join(bf16_units(device)) or "none"
    forced = forced_bf16()
    if forced is None:
        return f"units: {units}"
    setting = "on" if forced else "off"
    return f"{BF16_VARIABLE}={setting}; units: {units}"


def flushes_denormals() -> bool:
    """Whether this thread computes with denormal numbers as zeros; threads started from now on do the same."""
    tiny = torch.full((1,), torch.finfo(torch.float32).tiny)
    return float(tiny * 0.5) == 0.0


def tune_process(threads: int = 0) -> None:
    """Set threads, flush denormal numbers to zero (softmax backward makes many), keep freed memory.

    Two OpenMP teams that spin on the same core slow each other down; ``GOMP_SPINCOUNT=10000`` in the environment
    limits the spinning, as the command ``ofa`` sets it. It is read when torch is imported, so it cannot be set here.

    Args:
        threads: Threads of torch, at most one for each processor; 0 leaves torch's own choice.
    """
    if threads:
        torch.set_num_threads(min(threads, processors()))
    torch.set_flush_denormal(True)
    keep_freed_memory()
