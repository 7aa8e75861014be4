"""What a training step will need, from one pass forward and backward and what the optimiser keeps."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ofacore.config.train_section import TrainConfig
from ofacore.ground.machine import current_memory
from ofacore.model.universal import UniversalModel
from ofacore.protocols import Batch
from ofacore.training.optim.parameters import freeze, treatments
from ofacore.training.optim.rounding import RoundedTensor

_SECONDS = 0.002
"""Between two looks at the resident set."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of a training process, by what holds them."""

    base: int
    """Interpreter, libraries and data, as measured before the first step."""
    weights: int
    """Weights and their gradients, as training holds them."""
    optimizer: int
    """Master weights, their gradients, moments and averages."""
    activations: int
    """What a pass over the largest micro-batch takes at its peak besides gradients of weights."""

    @property
    def total(self) -> int:
        """Expected peak of the resident set."""
        return self.base + self.weights + self.optimizer + self.activations


def estimate(
    model: UniversalModel, config: TrainConfig, batches: Sequence[Batch], dtype: torch.dtype
) -> MemoryEstimate:
    """What training an fp32 model in a format will need.

    Runs a pass over the largest micro-batch in that format; gradients are forgotten, weights stay as they are.
    """
    freeze(model, config.optimizer)
    base = current_memory() - _bytes(model.parameters())
    if dtype == torch.float32:
        return _measured(model, config, batches, base)
    tensors: list[Tensor] = [*model.parameters(), *model.buffers()]
    rounded = [RoundedTensor(tensor, dtype) for tensor in tensors if tensor.is_floating_point()]
    try:
        return _measured(model, config, batches, base)
    finally:
        for each in rounded:
            each.restore()


def _measured(
    model: UniversalModel, config: TrainConfig, batches: Sequence[Batch], base: int
) -> MemoryEstimate:
    trained = [p for p in model.parameters() if p.requires_grad]
    weights, gradients = (_bytes(parameters) for parameters in (model.parameters(), trained))
    weights += sum(
        2 * p.numel()
        for p in model.parameters()
        if p.dtype == torch.bfloat16 and not p.requires_grad
    )
    before = current_memory()
    model.train()
    with _watched() as peak:
        nothing = torch.zeros((), device=model.device)
        total = sum(
            (loss.values.sum() for _, loss in model.losses(max(batches, key=_positions))), nothing
        )
        if total.requires_grad:
            total.backward()
    del total
    model.zero_grad(set_to_none=True)
    activations = max(0, max(peak) - before - gradients)
    return MemoryEstimate(base, weights + gradients, _optimizer_bytes(model, config), activations)


def _optimizer_bytes(model: nn.Module, config: TrainConfig) -> int:
    moments = {"adamw": 2, "muon": 1, "sgd": int(config.optimizer.sgd_momentum > 0)}
    parameters = dict(model.named_parameters())
    copies = {
        name: moments[treatment.method]
        + 2 * (parameters[name].dtype != torch.float32)
        + (config.ema > 0)
        for name, treatment in treatments(model, config.optimizer).items()
    }
    return sum(4 * parameters[name].numel() * number for name, number in copies.items())


def _bytes(parameters: Iterator[nn.Parameter] | Sequence[nn.Parameter]) -> int:
    return sum(p.numel() * p.element_size() for p in parameters)


def _positions(batch: Batch) -> int:
    return sum(side.layout.positions for side in (batch.source, batch.target) if side is not None)


@contextmanager
def _watched() -> Iterator[list[int]]:
    """Sizes of the resident set while something runs."""
    seen, done = [current_memory()], threading.Event()

    def watch() -> None:
        while not done.wait(_SECONDS):
            seen.append(current_memory())

    watcher = threading.Thread(target=watch, name="ofa-memory")
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()
        seen.append(current_memory())
