"""Process groups. One process needs no launcher, no environment variables and no network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from ofacore.parallel import cpu
from ofacore.parallel.megatron import megatron
from ofacore.parallel.process_grid import LayoutError, ProcessGrid

TIMEOUT = timedelta(minutes=10)
"""How long a collective waits for the other processes."""


@dataclass
class _Running:
    """What this process was started as; process groups are state of the whole process by their nature."""

    layout: ProcessGrid = ProcessGrid()


_running = _Running()


def start(layout: ProcessGrid | None = None, timeout: timedelta = TIMEOUT) -> None:
    """Make the process groups that parallel layers need; does nothing where they exist.

    A default process group that exists is used as it is. Otherwise one process becomes a world of its own, and
    several find each other by the variables that ``torchrun`` sets.

    Args:
        layout: Sizes of the groups; default: whatever runs, else one process.
        timeout: How long a collective waits for the other processes.

    Raises:
        LayoutError: Another layout runs already, or another number of processes was started.
    """
    if _started():
        if layout is not None and layout != _running.layout:
            raise LayoutError(
                f"this process runs as {_running.layout}; it cannot become {layout} without `stop`"
            )
        return
    cpu.install()
    if layout is None:
        processes = dist.get_world_size() if dist.is_initialized() else 1
        layout = ProcessGrid(processes)
    if not dist.is_initialized():
        _connect(layout, timeout)
    if dist.get_world_size() != layout.world:
        raise LayoutError(
            f"{dist.get_world_size()} processes were started for a layout of {layout.world}"
        )
    groups = _groups_are_the_world() if layout.single else nullcontext()
    with groups:
        megatron("parallel_state").initialize_model_parallel(
            tensor_model_parallel_size=layout.tensor,
            pipeline_model_parallel_size=layout.pipeline,
            expert_model_parallel_size=layout.expert,
            distributed_timeout_minutes=max(1, round(timeout.total_seconds() / 60)),
            create_gloo_process_groups=False,
        )
    _running.layout = layout


@contextmanager
def _groups_are_the_world() -> Iterator[None]:
    """In a world of one process each new group is the world: 18 of its own would poll with three threads each."""
    made = dist.new_group
    dist.new_group = lambda *_, **__: dist.group.WORLD
    try:
        yield
    finally:
        dist.new_group = made


def _started() -> bool:
    return bool(megatron("parallel_state").model_parallel_is_initialized())


def _connect(layout: ProcessGrid, timeout: timedelta) -> None:
    if layout.single:
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
        return
    if "RANK" not in os.environ:
        raise LayoutError(
            f"a layout of {layout.world} processes is started by `ofa train --nproc` or torchrun"
        )
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        dist.init_process_group("cpu:gloo,cuda:nccl", timeout=timeout)
    else:
        dist.init_process_group("gloo", timeout=timeout)


def stop() -> None:
    """Release every process group."""
    state = megatron("parallel_state")
    if state.model_parallel_is_initialized():
        state.destroy_model_parallel()
    if dist.is_initialized():
        dist.destroy_process_group()
    _running.layout = ProcessGrid()


def layout() -> ProcessGrid:
    """How the processes of this run divide the work; one process where nothing was started."""
    return _running.layout


def world_size() -> int:
    """Number of processes."""
    return _running.layout.world


def world_rank() -> int:
    """Number of this process; 0 prints and writes."""
    return dist.get_rank() if _running.layout.world > 1 else 0


def is_first() -> bool:
    """Whether this process is the one that prints and writes."""
    return world_rank() == 0


def _state() -> Any:
    start()
    return megatron("parallel_state")


def tensor_size() -> int:
    """Number of processes that share every large matrix."""
    return _running.layout.tensor


def tensor_rank() -> int:
    """Which share of every large matrix this process holds."""
    return int(_state().get_tensor_model_parallel_rank()) if tensor_size() > 1 else 0


def tensor_group() -> dist.ProcessGroup:
    """Processes that share every large matrix."""
    return _state().get_tensor_model_parallel_group()  # type: ignore[no-any-return]


def sequence_parallel() -> bool:
    """Whether positions are split over the tensor group between the large matrices."""
    return _running.layout.sequence and _running.layout.tensor > 1


def pipeline_size() -> int:
    """Number of stages."""
    return _running.layout.pipeline


def pipeline_rank() -> int:
    """Which stage this process computes."""
    return int(_state().get_pipeline_model_parallel_rank()) if pipeline_size() > 1 else 0


def pipeline_group() -> dist.ProcessGroup:
    """The processes of one pipeline, in the order of its stages."""
    return _state().get_pipeline_model_parallel_group()  # type: ignore[no-any-return]


def model_group() -> dist.ProcessGroup:
    """The processes that hold one replica of the model together: all tensor ranks of all stages."""
    return _state().get_model_parallel_group()  # type: ignore[no-any-return]


def data_size() -> int:
    """Replicas that each take a share of the samples."""
    return _running.layout.data


def data_rank() -> int:
    """Which share of the samples this process takes."""
    return int(_state().get_data_parallel_rank()) if data_size() > 1 else 0


def data_group() -> dist.ProcessGroup:
    """Processes that hold the same part of the model, experts aside, and take different samples."""
    return _state().get_data_parallel_group()  # type: ignore[no-any-return]


def expert_size() -> int:
    """Data ranks that feed-forward experts are spread over."""
    return _running.layout.expert


def expert_rank() -> int:
    """Which share of the experts this process holds."""
    return int(_state().get_expert_model_parallel_rank()) if expert_size() > 1 else 0


def expert_group() -> dist.ProcessGroup:
    """Data ranks that hold all experts together."""
    return _state().get_expert_model_parallel_group()  # type: ignore[no-any-return]


def expert_data_group() -> dist.ProcessGroup:
    """Processes that hold the same experts and take different samples."""
    return _state().get_expert_data_parallel_group()  # type: ignore[no-any-return]
