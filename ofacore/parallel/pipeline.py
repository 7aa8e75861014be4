"""Pipeline parallelism by megatron-core: one micro-batch forward, one backward (1F1B, Narayanan et al. 2021).

A stage hands one tensor [rows, 1, H] to the next. Its number of rows may differ from micro-batch to micro-batch.
Stages are not interleaved: with two stages the messages of megatron's interleaved schedule cross.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ofacore.parallel.cutting import PipelineError as PipelineError
from ofacore.parallel.cutting import cut as cut
from ofacore.parallel.megatron import megatron
from ofacore.parallel.process_groups import (
    pipeline_group,
    pipeline_size,
    sequence_parallel,
    tensor_size,
)

Compute = Callable[[int, Tensor | None], Tensor]
"""(Place of the micro-batch, tensor from the stage before) -> tensor for the stage behind, or the loss on the last."""


class _Stage:
    """What megatron's schedule asks of a model."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.config = _schedule_config(dtype)
        self.model_type = megatron("enums").ModelType.encoder_or_decoder
        self.received: Tensor | None = None

    def set_input_tensor(self, tensors: Sequence[Tensor | None]) -> None:
        """Called by the schedule before each forward step."""
        self.received = tensors[0]


def _schedule_config(dtype: torch.dtype) -> Any:
    cuda = torch.cuda.is_available()
    config = megatron("model_parallel_config").ModelParallelConfig(
        tensor_model_parallel_size=tensor_size(),
        pipeline_model_parallel_size=pipeline_size(),
        sequence_parallel=sequence_parallel(),
        pipeline_dtype=dtype,
        params_dtype=dtype,
        use_cpu_initialization=not cuda,
        variable_seq_lengths=True,
        batch_p2p_comm=True,
        batch_p2p_sync=cuda,
        deallocate_pipeline_outputs=True,
    )
    config.hidden_size = 1  # for shapes that travel with the tensors and so are never computed
    config.calculate_per_token_loss = (
        True  # the loss is divided by counts of the whole step already
    )
    config.fine_grained_activation_offloading = False
    return config


def run_pipeline(
    compute: Compute, places: Sequence[int], dtype: torch.dtype, forward_only: bool = False
) -> None:
    """Run micro-batches through all stages, backwards too unless ``forward_only``.

    Every stage calls this with the same places. Gradients are accumulated in the parameters.

    Args:
        compute: This stage's work. Its result must depend on the tensor received, for every tensor sent forward is
            answered by a gradient.
        places: Micro-batches, in order.
        dtype: Format of what travels.
        forward_only: No gradients.
    """
    if not places:
        return
    stage = _Stage(dtype)

    def step(remaining: Iterator[int], module: _Stage) -> tuple[Tensor, Any]:
        return compute(next(remaining), module.received), _given

    megatron(
        "transformer.multi_token_prediction"
    )  # the schedule would import it in its first step, with a warning
    run = megatron("pipeline_parallel.schedules").forward_backward_pipelining_without_interleaving
    with torch.set_grad_enabled(not forward_only):
        run(
            forward_step_func=step,
            data_iterator=iter(places),
            model=stage,
            num_microbatches=len(places),
            seq_length=1,
            micro_batch_size=1,
            forward_only=forward_only,
        )


def _given(loss: Tensor) -> tuple[Tensor, Tensor, None]:
    """The loss as it is, for megatron's bookkeeping."""
    return loss, torch.zeros((), dtype=torch.int, device=loss.device), None


def from_last(value: Any) -> Any:
    """What the last stage holds, on every stage."""
    held = [value]
    dist.broadcast_object_list(held, group=pipeline_group(), group_src=pipeline_size() - 1)
    return held[0]
