"""What the benchmarks share: sides in processes of their own, process settings, results as JSON."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from ofacore.ground.machine import processors

RESULTS = Path(__file__).with_name("results")


def settle(tuned: bool, threads: int) -> None:
    """Threads of torch, and this project's process settings where wanted."""
    import torch

    from ofacore.parallel.process import tune_process

    if tuned:
        tune_process(threads)
    else:
        torch.set_num_threads(threads)


def timed(action: Callable[[], object], seconds: float, least: int = 3) -> dict[str, list[float]]:
    """Wall and processor seconds of repeated calls, after one to warm up."""
    action()
    found: dict[str, list[float]] = {"times": [], "busy": []}
    end = time.perf_counter() + seconds
    while len(found["times"]) < least or time.perf_counter() < end:
        start, worked = time.perf_counter(), time.process_time()
        action()
        found["times"].append(time.perf_counter() - start)
        found["busy"].append(time.process_time() - worked)
    return found


def in_turn(
    script: str, sides: Sequence[str], rounds: int, arguments: Sequence[str]
) -> dict[str, list[Any]]:
    """Run ``script --side NAME ARGUMENTS`` for every side, ``rounds`` times over; each prints JSON as its last line."""
    found: dict[str, list[Any]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            command = [sys.executable, script, "--side", side, *arguments]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found[side].append(json.loads(done.stdout.splitlines()[-1]))
    return found


def against_peer(
    script: str, doc: str, sides: Mapping[str, Callable[[], object]], count: int, unit: str
) -> None:
    """Command line of a benchmark with the sides ``ours`` and ``peer``; their ratio is to reach 1.0.

    Args:
        script: Its path; results are saved under its name.
        doc: What it measures.
        sides: Name -> what makes the work of that side.
        count: How many ``unit`` one call of the work does.
        unit: Such as ``rows``.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--side", choices=list(sides), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side is not None:
        settle(True, 1)
        work = sides[args.side]()
        print(json.dumps(timed(work, args.seconds)))  # type: ignore[arg-type]
        return
    results: dict[str, object] = {}
    rates: dict[str, dict[str, float]] = {}
    found = in_turn(script, list(sides), args.rounds, ["--seconds", str(args.seconds)])
    for side, runs in found.items():
        rates[side] = {key: count / middle(runs, key) for key in ("times", "busy")}
        wall, busy = rates[side]["times"], rates[side]["busy"]
        print(f"{side}: {wall:7.0f} {unit}/s, {busy:7.0f} by processor time")
        results[side] = {f"{unit} a second": wall, "by processor time": busy}
    ratios = {key: rates["ours"][key] / rates["peer"][key] for key in ("times", "busy")}
    print(f"ratio {ratios['times']:.2f}, by processor time {ratios['busy']:.2f}; to reach: 1.0")
    results["ratio"] = {"wall": ratios["times"], "by processor time": ratios["busy"]}
    results["to reach"] = 1.0
    save(Path(script).stem, results)


def middle(runs: Sequence[Mapping[str, Any]], key: str) -> float:
    """Median over all values that all runs have under a key."""
    return median(value for run in runs for value in run[key])


def machine() -> dict[str, object]:
    """What matters of this machine: cores, bf16 in hardware, other work going on."""
    import torch

    from ofacore.parallel.process import described_bf16, fast_bf16

    return {
        "cores": processors(),
        "bf16 in hardware": fast_bf16(torch.device("cpu")),
        "bf16": described_bf16(torch.device("cpu")),
        "load average": round(os.getloadavg()[0], 2),
    }


def save(name: str, results: Mapping[str, object]) -> None:
    """Write ``results/NAME.json``."""
    RESULTS.mkdir(exist_ok=True)
    whole = {"machine": machine(), **results}
    (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=1, default=str) + "\n")
