"""A step that mixes the tasks of the starter run: padding, packed against padded, and where its time goes.

    python benchmarks/mixed_step.py --threads 2

fp32; both ways of batching train on the same samples, each in a process of its own, in turn. Fetches the starter data
at first use.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from measuring import in_turn, middle, save, settle

PARTS = ("data", "forward", "backward", "optimiser")


def real_share(batches: Iterable[Any]) -> float:
    """Real positions among all slots of the attention matrices of both sides."""
    rows = [
        group
        for batch in batches
        for side in (batch.source, batch.target)
        if side is not None
        for group in (*side.layout.rows, *side.layout.memory_rows)
    ]
    return sum(int((group >= 0).sum()) for group in rows) / sum(group.numel() for group in rows)


def measured(packing: bool, steps: int) -> dict[str, object]:
    """Processor and wall seconds of every part of every step."""
    from dataclasses import replace

    from ofacore.batching.cursor import Cursor
    from ofacore.batching.steps import StepLoader
    from ofacore.config.loading import load
    from ofacore.generalist.facade import Generalist
    from ofacore.generalist.fitting import loader_settings, schedule, training_data
    from ofacore.training.optim.optimizer import RunOptimizer

    model = Generalist.create(config=load(["starter"]))
    config = model.assembly.config.train
    settings = replace(loader_settings(config), packing=packing, workers=0)
    found: dict[str, list[float]] = {
        f"{part} {clock}": [] for part in PARTS for clock in ("times", "busy")
    }

    def clocked(part: str, action: Callable[[], Any]) -> Any:
        start, worked = time.perf_counter(), time.process_time()
        result = action()
        found[f"{part} times"].append(time.perf_counter() - start)
        found[f"{part} busy"].append(time.process_time() - worked)
        return result

    optimizer = RunOptimizer(model.model.train(), config.optimizer)
    shares, samples, tasks, cursor = [], 0, 0, Cursor()
    for number in range(steps + 1):
        one = StepLoader(
            training_data(model), schedule(model), settings, cursor, number, number + 1
        )
        step = clocked("data", lambda one=one: list(one))[0]
        cursor = step.cursor
        train_on(model.model, optimizer, step.batches, clocked)
        shares.append(real_share(step.batches))
        infos = [info for batch in step.batches for info in batch.samples]
        samples, tasks = len(infos), len({info.task for info in infos})
    kept = {key: merged(values, steps + 1) for key, values in found.items()}
    return {**kept, "shares": shares, "samples": samples, "tasks": tasks}


def merged(values: list[float], steps: int) -> list[float]:
    """One sum for each step but the first, which warms up."""
    each = len(values) // steps
    return [sum(values[i * each : (i + 1) * each]) for i in range(1, steps)]


def train_on(
    model: Any, optimizer: Any, batches: Iterable[Any], clocked: Callable[..., Any]
) -> None:
    """One update, as the training loop makes it."""

    def forward() -> Any:
        terms = [found for batch in batches for found in model.losses(batch)]
        return sum(loss.values.sum() / max(1, sum(group.counts)) for group, loss in terms)

    def update() -> None:
        optimizer.clip(float(optimizer.gradient_norm()))
        optimizer.step(1.0)
        optimizer.zero_grad()

    loss = clocked("forward", forward)
    clocked("backward", loss.backward)
    clocked("optimiser", update)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--side", choices=["packed", "padded"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side is not None:
        settle(True, args.threads)
        print(json.dumps(measured(args.side == "packed", args.steps)))
        return
    arguments = ["--threads", str(args.threads), "--steps", str(args.steps)]
    report(in_turn(__file__, ["packed", "padded"], args.rounds, arguments), args.threads)


def report(found: dict[str, list[Any]], threads: int) -> None:
    """Print and save medians."""
    results: dict[str, object] = {"threads": threads}
    speed: dict[str, dict[str, float]] = {}
    for side, runs in found.items():
        share, samples = middle(runs, "shares"), runs[0]["samples"]
        print(
            f"{side}: {runs[0]['tasks']} tasks, {samples} samples a step, {share:.3f} of the slots are real"
        )
        seconds = {
            clock: {part: middle(runs, f"{part} {clock}") for part in PARTS}
            for clock in ("times", "busy")
        }
        for part in PARTS:
            print(
                f"  {part:10s} {seconds['times'][part]:7.3f} s, processor {seconds['busy'][part]:7.3f} s"
            )
        speed[side] = {clock: samples / sum(parts.values()) for clock, parts in seconds.items()}
        print(f"  {speed[side]['times']:.1f} samples/s")
        results[side] = {
            "tasks": runs[0]["tasks"],
            "samples": samples,
            "real share": share,
            "seconds": seconds["times"],
            "processor seconds": seconds["busy"],
            "samples a second": speed[side]["times"],
        }
    ratios = {clock: speed["packed"][clock] / speed["padded"][clock] for clock in ("times", "busy")}
    print(f"packed / padded: {ratios['times']:.2f} times, {ratios['busy']:.2f} by processor time")
    save("mixed_step", {**results, "packed / padded": ratios})


if __name__ == "__main__":
    main()
