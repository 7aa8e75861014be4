"""Process groups. One process needs no launcher, no environment variables and no network."""

from __future__ import annotations

import torch
import torch.distributed as dist

from ofacore.parallel import cpu
from ofacore.parallel.megatron import megatron


def start(tensor: int = 1) -> None:
    """Make the process groups that parallel layers need; does nothing where they exist.

    A process group that a launcher made is used as it is; otherwise this process becomes a world of one.

    Args:
        tensor: Number of processes that share every large matrix.
    """
    cpu.install()
    state = megatron("parallel_state")
    if state.model_parallel_is_initialized():
        return
    if not dist.is_initialized():
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    state.initialize_model_parallel(tensor_model_parallel_size=tensor)


def stop() -> None:
    """Release every process group."""
    state = megatron("parallel_state")
    if state.model_parallel_is_initialized():
        state.destroy_model_parallel()
    if dist.is_initialized():
        dist.destroy_process_group()


def tensor_size() -> int:
    """Number of processes that share every large matrix."""
    return int(megatron("parallel_state").get_tensor_model_parallel_world_size())


def tensor_rank() -> int:
    """Which share of every large matrix this process holds."""
    return int(megatron("parallel_state").get_tensor_model_parallel_rank())
