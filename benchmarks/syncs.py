"""How often a GPU would make the host wait in a training step and in a step of decoding, and how many kernels it runs.

    python benchmarks/syncs.py

Counted on a CPU, on the pretended GPU of `ofa_kit`: the tasks of the starter run, 96 samples a step, with
one micro-batch and with several; the greedy answer of one of its tasks, and a beam. Fetches the starter data at first
use.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from measuring import RESULTS, save, settle


def starter() -> Any:
    """The model of the starter run."""
    from ofacore.config.loading import load
    from ofacore.generalist.facade import Generalist

    return Generalist.create(config=load(["starter"]))


def steps_of(model: Any, number: int, samples: int) -> list[Any]:
    """Steps of training data; ``samples``: most in a micro-batch."""
    from ofacore.batching.cursor import Cursor
    from ofacore.batching.steps import StepLoader
    from ofacore.generalist.fitting import loader_settings, schedule, training_data

    settings = replace(
        loader_settings(model.assembly.config.train), workers=0, samples=samples, positions=10**6
    )
    steps = StepLoader(training_data(model), schedule(model), settings, Cursor(), 0, number)
    return list(steps)


def trained(gpu: Any, model: Any, steps: list[Any]) -> dict[str, object]:
    """Waits and kernels of the last of some steps."""
    from ofacore.training.loop import Trainer

    with TemporaryDirectory() as folder:
        trainer = Trainer(model.model, [], model.assembly.config.train, Path(folder))
        for step in steps:
            gpu.forget()
            trainer.train_step(step)
    return {"micro-batches": len(steps[-1].batches), **counted(gpu)}


def counted(gpu: Any, steps: int = 1) -> dict[str, object]:
    """What was counted, by step."""
    waits = {place: number / steps for place, number in Counter(gpu.waits).most_common()}
    return {
        "waits": sum(waits.values()),
        "kernels": round(sum(gpu.kernels.values()) / steps),
        "waits by line": waits,
    }


def decoded(gpu: Any, model: Any, task: str, length: int, **options: Any) -> dict[str, object]:
    """Waits and kernels that one more token costs, once decoding has begun."""
    rows = [dict(model.data[task].splits["test"][i]) for i in range(4)]
    found = []
    for most in (length, 2 * length):
        gpu.forget()
        model.infer(task, rows, max_length=most, min_length=most, **options)
        found.append((Counter(gpu.waits), Counter(gpu.kernels)))
    waits, kernels = (after - before for before, after in zip(*found, strict=True))
    gpu.waits, gpu.kernels = waits, kernels
    return counted(gpu, length)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--decode", default="g2p", help="task whose answers are generated")
    parser.add_argument("--save", action="store_true", help="write results/syncs.json")
    parser.add_argument("--what", choices=["train", "decode", "all"], default="all")
    args = parser.parse_args()
    settle(True, 1)
    from ofa_kit.accelerator import PretendedGpu

    model, results = starter(), {}
    steps = {
        "one micro-batch": steps_of(model, 2, 0),
        "micro-batches of 16 samples": steps_of(model, 2, 16),
    }
    with PretendedGpu() as gpu:
        gpu.to_device(model.model)
        for name, some in steps.items() if args.what != "decode" else ():
            results[name] = trained(gpu, model, some)
        model.model.eval()
        if args.what != "train":
            results["a token, greedy"] = decoded(gpu, model, args.decode, 6)
            results["a token, beam of 4"] = decoded(
                gpu, model, args.decode, 6, strategy="beam", beam=4
            )
    for name, found in results.items():
        print(f"{name}: {found['waits']:g} waits, {found['kernels']} kernels")
        for place, number in list(found["waits by line"].items())[:40]:
            print(f"  {number:g}  {place}")
    if args.save:
        stored = json.loads((RESULTS / "syncs.json").read_text())
        save("syncs", {**results, "before": stored["before"]})


if __name__ == "__main__":
    main()
