"""A rehearsal on all processes: plans, sizes, memory, and two real steps that leave nothing behind."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console
from torch import Tensor

from ofacore.data.loader import StepLoader
from ofacore.fitting import LoadedStep, check_alike, divide, loaded, loader_settings, rollout, schedule, training_data
from ofacore.generalist import Generalist
from ofacore.parallel.agreement import everyones, of_the_model
from ofacore.parallel.groups import layout
from ofacore.parallel.layout import described
from ofacore.plan import as_text
from ofacore.protocols import Batch
from ofacore.train.loop import Trainer


@dataclass(frozen=True)
class Memory:
    """Bytes of a training process, by what holds them."""

    base: int
    """Interpreter, libraries and data, as measured before the first step."""
    weights: int
    """Weights and their gradients, as training holds them."""
    optimizer: int
    """Master weights, their gradients and both moments."""
    activations: int
    """Tensors kept for the backward pass of the largest micro-batch, and the working space beside them."""

    @property
    def total(self) -> int:
        """Expected peak of the resident set."""
        return self.base + self.weights + self.optimizer + self.activations


WORKSPACE = 1.5
"""Peak of a backward pass over what its forward pass keeps: gradients of activations and temporary results."""


def rehearse(generalist: Generalist, console: Console) -> None:
    """Print plans and an estimate of memory, then run two steps in a folder that is thrown away.

    All processes of a run must call this together; memory is estimated where one holds the whole model.
    """
    check_alike(generalist)
    for plan in generalist.assembly.plans.values():
        console.print(f"\n{plan.name}", style="bold")
        console.print(as_text(plan), markup=False, highlight=False)
    config = generalist.assembly.config.train
    loader = StepLoader(training_data(generalist), schedule(generalist), loader_settings(config), stop=2)
    steps = [loaded(step) for step in loader]
    divide(generalist)
    if layout().single:
        expected = estimate(generalist, steps)
        console.print(f"\nmemory expected: {_megabytes(expected.total)} (process {_megabytes(expected.base)}, weights "
                      f"{_megabytes(expected.weights)}, optimiser {_megabytes(expected.optimizer)}, activations "
                      f"{_megabytes(expected.activations)})")  # fmt: skip
    else:
        console.print(f"\nrehearsed on {described(layout())}", highlight=False)
    with TemporaryDirectory() as folder:
        trainer = Trainer(generalist.model, steps, config, Path(folder), rollout=rollout(generalist))
        for step in steps:
            report = trainer.train_step(step)
            losses = "  ".join(
                f"{n.removeprefix('train/')} {v:.3f}" for n, v in report.values.items() if n.count("/") == 2
            )
            console.print(
                f"step {report.step}: {report.samples} samples in {report.seconds:.2f} s  {losses}", highlight=False
            )
    console.print(f"memory measured: {_measured()} at the peak")


def estimate(generalist: Generalist, steps: list[LoadedStep]) -> Memory:
    """What training will need, from one forward pass over the largest micro-batch."""
    trainable = [p for p in generalist.model.parameters() if p.requires_grad]
    weights = sum(p.numel() * p.element_size() for p in generalist.model.parameters())
    gradients = sum(p.numel() * p.element_size() for p in trainable)
    numbers = sum(p.numel() for p in trainable)
    reduced = any(p.dtype != torch.float32 for p in trainable)
    base = current_memory() - weights
    largest = max((batch for step in steps for batch in step.batches), key=_positions)
    kept = kept_for_backward(generalist, largest)
    return Memory(base, weights + gradients, numbers * 4 * (4 if reduced else 2), int(kept * WORKSPACE))


def kept_for_backward(generalist: Generalist, batch: Batch) -> int:
    """Bytes of distinct tensors that autograd keeps in a forward pass, parameters not counted."""
    known = {p.untyped_storage().data_ptr() for p in generalist.model.parameters()}
    seen: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    generalist.model.train()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        losses = generalist.model.losses(batch)
        total = torch.stack([loss.values.sum() for _, loss in losses]).sum()
    del total, losses
    return sum(seen.values())


def current_memory() -> int:
    """Resident set of this process, bytes."""
    if sys.platform.startswith("linux"):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()
    return peak_memory()


def peak_memory() -> int:
    """Largest resident set of this process so far, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _measured() -> str:
    """Of all processes."""
    peaks = [peak for model in everyones(of_the_model(peak_memory())) for peak in model]
    least, most = _megabytes(min(peaks)), _megabytes(max(peaks))
    return most if len(peaks) == 1 else f"{least} to {most} in a process"


def _positions(batch: Batch) -> int:
    return sum(side.layout.positions for side in (batch.source, batch.target) if side is not None)


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MB"
