"""A training step under each parallel layout against one process with equal work.

Run: ``python benchmarks/parallel.py --preset tiny --rounds 3``, with ``--four`` for products of layouts, too

Every process computes with one thread. Each layout takes the same samples in a step. Printed and saved: median seconds
a step, bytes in the calls of the first process, what is lost against one process divided by the number of processes (of
cores, where those are fewer), and the part of it that the pipeline's schedule explains, (p - 1) / (m + p - 1) for p
stages and m micro-batches; the rest is communication, waiting, and work that is not divided.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
from statistics import median
from typing import Any

import train_step
from measuring import save, settle, timed

from ofacore.ground.machine import processors

LAYOUTS: dict[str, dict[str, Any]] = {
    "one process": {},
    "TP2": {"tensor": 2},
    "TP2 SP": {"tensor": 2, "sequence": True},
    "PP2": {"pipeline": 2},
    "DP2": {"world": 2},
    "DP2 ZeRO-1": {"world": 2, "zero": True},
    "DP2 FSDP": {"world": 2, "fsdp": True},
}
OF_FOUR: dict[str, dict[str, Any]] = {
    "TP2 DP2": {"world": 4, "tensor": 2},
    "PP2 DP2": {"world": 4, "pipeline": 2},
    "TP2 PP2": {"world": 4, "tensor": 2, "pipeline": 2},
}
EVERY = {**LAYOUTS, **OF_FOUR}
MICRO_BATCHES, SAMPLES = 4, 2
"""In a step over all replicas, and of each."""


def layout_of(name: str):  # noqa: ANN201 - torch is imported in the measured processes only
    """The layout of a side."""
    from ofacore.parallel.process_grid import ProcessGrid

    sizes = EVERY[name]
    world = sizes.get("world", sizes.get("tensor", 1) * sizes.get("pipeline", 1))
    return ProcessGrid(**{**sizes, "world": world})


def run_side(name: str, preset: str, seconds: float) -> None:
    """One process of a side; the first prints what it measured."""
    import torch

    from ofacore.parallel import process_groups as groups
    from ofacore.parallel.counting import CallCounter

    settle(True, 1)
    layout = layout_of(name)
    groups.start(layout)
    torch.manual_seed(0)
    step = training_step(layout, preset)
    step()
    with CallCounter() as counter:
        step()
    steps = agreed_steps(step, seconds)
    found = timed(step, 0.0, least=steps)
    if groups.is_first():
        print(json.dumps({**found, "sent": dict(counter.payload), "calls": dict(counter.calls)}))
    groups.stop()


def agreed_steps(step: Any, seconds: float) -> int:
    """How many steps fit the time; equally many on every process."""
    import time

    import torch
    import torch.distributed as dist

    start = time.perf_counter()
    step()
    number = torch.tensor([max(3.0, seconds // (time.perf_counter() - start))])
    dist.all_reduce(number, dist.ReduceOp.MIN)
    return int(number)


def training_step(layout: Any, preset: str):  # noqa: ANN201
    """A step as the training loop makes it, without reading data."""
    from ofacore.config.model_section import ModelConfig
    from ofacore.config.train_section import FaultConfig, OptimizerConfig
    from ofacore.ground.vocabulary import Block, Vocabulary
    from ofacore.model.item_needs import ModelNeeds, Part
    from ofacore.model.pipeline.stages import cut_model
    from ofacore.model.universal import UniversalModel
    from ofacore.parallel import process_groups as groups
    from ofacore.plugin.registry import Registry
    from ofacore.training.gradients import GradientPass
    from ofacore.training.optim.optimizer import RunOptimizer
    from ofacore.training.pipelined import PipelinePass
    from ofacore.training.step.faults import FaultCounters

    train_step.BATCH, train_step.VOCABULARY = SAMPLES, 8192
    needs = ModelNeeds((Part("token"),), (Part("token"),), (Part("cross_entropy"),), ("task",))
    vocabulary = Vocabulary().extend([Block("words", train_step.VOCABULARY - 6)])
    model = UniversalModel(
        ModelConfig(preset=preset), Registry.discover(), vocabulary, {}, needs
    ).train()
    if layout.pipeline > 1:
        cut_model(model, layout.pipeline, groups.pipeline_rank())
    model.shard()
    optimizer = RunOptimizer(model, OptimizerConfig(name="adamw", lr=1e-4))
    kind = PipelinePass if layout.pipeline > 1 else GradientPass
    passes = kind(model, optimizer, FaultConfig(), FaultCounters(FaultConfig()), 1)
    data = step_data(MICRO_BATCHES // layout.data)

    def step() -> None:
        optimizer.clip(passes.run(data).norm)
        optimizer.step(1.0)

    return step


def step_data(micro_batches: int):  # noqa: ANN201
    """What one replica takes in a step."""
    from ofacore.batching.cursor import Cursor
    from ofacore.batching.steps import Step

    batches = [train_step.our_batch() for _ in range(micro_batches)]
    own = micro_batches * SAMPLES * train_step.TARGET
    return Step(0, batches, {"task/text": own}, Cursor())


def launch(name: str, preset: str, seconds: float) -> dict[str, Any]:
    """Start the processes of a side; returns what the first one measured."""
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        number = port.getsockname()[1]
    world = layout_of(name).world
    common = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(number),
    }
    command = [
        sys.executable,
        "-W",
        "ignore",
        __file__,
        "--side",
        name,
        "--preset",
        preset,
        "--seconds",
        str(seconds),
    ]
    ranks = [{"RANK": str(n), "LOCAL_RANK": str(n), "WORLD_SIZE": str(world)} for n in range(world)]
    started = [
        subprocess.Popen(
            command,
            env={**common, **(rank if world > 1 else {})},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in ranks
    ]
    outputs = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit(f"{name} failed")
    return dict(json.loads(outputs[0].splitlines()[-1]))


def compare(args: argparse.Namespace) -> None:
    """All sides in turn, several rounds; medians, losses and bytes."""
    sides = list(EVERY if args.four else LAYOUTS)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for _ in range(args.rounds):
        for name in sides:
            found[name].append(launch(name, args.preset, args.seconds))
    seconds = {
        name: median(t for run in runs for t in run["times"]) for name, runs in found.items()
    }
    results, cores = {}, processors()
    for name, runs in found.items():
        layout = layout_of(name)
        number = MICRO_BATCHES // layout.data
        results[name] = {
            "processes": layout.world,
            "seconds a step": seconds[name],
            "processor seconds of the first process": median(
                t for run in runs for t in run["busy"]
            ),
            "lost": 1 - seconds["one process"] / min(layout.world, cores) / seconds[name],
            "lost to the bubble by schedule": (layout.pipeline - 1)
            / (number + layout.pipeline - 1),
            "bytes in calls of the first process": runs[0]["sent"],
            "calls": runs[0]["calls"],
        }
        print(
            f"{name:12s} {seconds[name]:7.3f} s/step  lost {results[name]['lost']:6.1%}  of it by schedule "
            f"{results[name]['lost to the bubble by schedule']:6.1%}  {runs[0]['sent']}"
        )
    note = (
        f"fp32 over gloo on one machine; {MICRO_BATCHES} micro-batches of {SAMPLES} samples. Other work on the machine "
        "(see load average) makes 'lost' an upper bound; the bytes are exact."
    )
    save(
        "parallel", {"preset": args.preset, "rounds": args.rounds, "note": note, "layouts": results}
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--four", action="store_true", help="Also layouts of four processes.")
    parser.add_argument("--side", choices=list(EVERY), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side is None:
        compare(args)
    else:
        run_side(args.side, args.preset, args.seconds)


if __name__ == "__main__":
    main()
