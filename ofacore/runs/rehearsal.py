"""A rehearsal on all processes: plans, sizes, memory, and two real steps that leave nothing behind."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from ofacore.batching.steps import StepLoader
from ofacore.generalist.facade import Generalist
from ofacore.generalist.fitting import (
    check_alike,
    divide,
    loader_settings,
    run_format,
    schedule,
    training_data,
)
from ofacore.generalist.rollout import Rollout
from ofacore.generalist.teachers import teaching_of
from ofacore.ground.machine import peak_memory
from ofacore.parallel.agreement import everyones, of_the_model
from ofacore.parallel.process_grid import described
from ofacore.parallel.process_groups import layout
from ofacore.plan import as_text
from ofacore.runs.memory import estimate
from ofacore.training.loop import Trainer
from ofacore.training.step.aggregation import run_aggregator


def rehearse(generalist: Generalist, console: Console) -> None:
    """Print plans and an estimate of memory, then run two steps in a folder that is thrown away.

    All processes of a run must call this together; memory is estimated where one holds the whole model.
    """
    check_alike(generalist)
    for plan in generalist.assembly.plans.values():
        console.print(f"\n{plan.name}", style="bold")
        console.print(as_text(plan), markup=False, highlight=False)
    config = generalist.assembly.config.train
    loader = StepLoader(
        training_data(generalist), schedule(generalist), loader_settings(config), stop=2
    )
    steps = list(loader)
    chosen = run_format(generalist)
    console.print(f"\n{chosen.told}", highlight=False, markup=False)
    teaching = teaching_of(generalist, chosen.dtype)
    divide(generalist, chosen.dtype)
    if not peak_memory():
        console.print("\nmemory: this system does not tell what a process takes", highlight=False)
    elif layout().single:
        batches = [batch for step in steps for batch in step.batches]
        expected = estimate(generalist.model, config, batches, chosen.dtype)
        console.print(
            f"\nmemory expected: {_megabytes(expected.total)} (process {_megabytes(expected.base)}, weights "
            f"{_megabytes(expected.weights)}, optimiser {_megabytes(expected.optimizer)}, activations "
            f"{_megabytes(expected.activations)})"
        )
    else:
        console.print(f"\nrehearsed on {described(layout())}", highlight=False)
    with TemporaryDirectory() as folder:
        trainer = Trainer(
            generalist.model,
            steps,
            config,
            Path(folder),
            rollout=Rollout(generalist),
            dtype=chosen.dtype,
            aggregator=run_aggregator(config, generalist.assembly.registry),
            teaching=teaching,
        )
        for step in steps:
            report = trainer.train_step(step)
            losses = "  ".join(
                f"{n.removeprefix('train/')} {v:.3f}"
                for n, v in report.values.items()
                if n.count("/") == 2
            )
            console.print(
                f"step {report.step}: {report.samples} samples in {report.seconds:.2f} s  {losses}",
                highlight=False,
            )
    if peak_memory():
        console.print(f"memory measured: {_measured()} at the peak")


def _measured() -> str:
    """Of all processes."""
    peaks = [peak for model in everyones(of_the_model(peak_memory())) for peak in model]
    least, most = _megabytes(min(peaks)), _megabytes(max(peaks))
    return most if len(peaks) == 1 else f"{least} to {most} in a process"


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MB"
