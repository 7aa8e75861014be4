"""What helps tasks that are learned together: validation losses of the starter run under other recipes.

``python benchmarks/what_raises.py OUT [NAME ...]`` trains the starter for a while as it is, and once for each recipe of
`RECIPES` (or those named), with the same number of samples and the same seed; then it prints the median over tasks of
the validation loss relative to the plain run: below 1 a recipe is better. How much of that is chance is told by the
plain run with another seed, which is trained too. What has ended is kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PLAIN, AGAIN = "plain", "plain, another seed"
SMALL = "model.experts=task model.experts_ffn=24 model.experts_shared=512"
HALF = "model.experts=modality model.experts_ffn=256"
BY_ADAMW = r"train.optimizer.muon_except=(^|[._])(embed\w*|heads?|positions?|routers?|criteria|criterion)\."
RECIPES = {
    PLAIN: "",
    AGAIN: "train.seed=2",
    "every task alike": "train.loss_average=tasks",
    "famo": "train.aggregator=famo",
    "uncertainty": "train.aggregator=uncertainty",
    "progress": "train.aggregator=progress",
    "gradnorm": "train.aggregator=gradnorm",
    "upgrad": "train.aggregator=upgrad",
    "mgda": "train.aggregator=mgda",
    "pcgrad": "train.aggregator=pcgrad",
    "cagrad": "train.aggregator=cagrad",
    "nash_mtl": "train.aggregator=nash_mtl",
    "even": "train.schedule.name=temperature train.schedule.options.temperature=4",
    "experts by modality": "model.experts=modality",
    "half experts": HALF,
    "half experts, tied head": f"{HALF} model.tied_head=true",
    "tied head": "model.tied_head=true",
    "narrow sounds": "options.adapter/audio_fbank.channels=128",
    "experts by task": "model.experts=task",
    "small experts by task": SMALL,
    "small experts by task, by AdamW": rf"{SMALL} {BY_ADAMW}|[.]each[.]",
    "adapters by AdamW": f"{BY_ADAMW}|^adapters[.]",
    "top 1 of 4, and a shared one": "model.experts=topk model.experts_ffn=256 model.experts_shared=256",
    "twice the steps": "train.steps={twice} train.samples=48",
    "half the steps": "train.steps={half} train.samples=192",
    "Muon in fp32": "train.optimizer.muon_precision=fp32",
    "half the rate": "train.optimizer.muon_lr=0.01 train.optimizer.lr=0.0005",
    "longer decay": "train.lr.decay=0.5",
}
"""Name -> settings over the starter's."""


def train(name: str, folder: Path, steps: int, threads: int) -> None:
    """One run of the starter; nothing to do where it has ended."""
    if (folder / "ended.json").is_file():
        return
    settings = RECIPES[name].format(twice=2 * steps, half=steps // 2).split()
    common = [
        f"train.steps={steps}",
        f"train.threads={threads}",
        "train.validation.samples=200",
        "train.test_rows=1",
    ]
    command = [str(Path(sys.executable).with_name("ofa")), "train", "starter", "--out", str(folder)]
    for setting in [*common, *settings]:
        command += ["--set", setting]
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.with_suffix(".log")
    with log.open("w") as told:
        ended = subprocess.run(command, stdout=told, stderr=subprocess.STDOUT)
    if ended.returncode:
        sys.exit(f"'{name}' was not trained: {log} says why; delete {folder}, then start again")


def measured(folder: Path) -> dict[str, Any]:
    """Last validation losses by task and slot, and samples per second."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    losses: dict[str, float] = {}
    speeds: list[float] = []
    for row in rows:
        found = {
            name.removeprefix("valid/").removesuffix("/loss"): value
            for name, value in row.items()
            if name.startswith("valid/") and name.endswith("/loss")
        }
        losses = found or losses
        if "train/samples_per_second" in row:
            speeds.append(row["train/samples_per_second"])
    return {"losses": losses, "samples_per_second": sum(speeds) / len(speeds)}


def relative(found: dict[str, float], plain: dict[str, float]) -> dict[str, float]:
    """Loss of each slot over that of the plain run."""
    return {name: found[name] / plain[name] for name in plain}


def main() -> None:
    """Train, measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--steps", type=int, default=300, help="of the plain run, of 96 samples")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--threads", type=int, default=1, help="of each run")
    given = parser.parse_args()
    unknown = sorted(set(given.names) - set(RECIPES))
    if unknown:
        parser.error(f"no recipe {unknown[0]!r}; there are {', '.join(RECIPES)}")

    names = list(dict.fromkeys([PLAIN, AGAIN, *(given.names or RECIPES)]))
    folders = {name: given.out / name.replace(" ", "_").replace(",", "") for name in names}
    with ThreadPoolExecutor(given.jobs) as pool:
        runs = [
            pool.submit(train, name, folder, given.steps, given.threads)
            for name, folder in folders.items()
        ]
        for run in runs:
            run.result()

    results = {name: measured(folder) for name, folder in folders.items()}
    plain = results[PLAIN]["losses"]
    for name, result in results.items():
        result["relative"] = relative(result["losses"], plain)
        result["median"] = statistics.median(result["relative"].values())
        better = sum(ratio < 1 for ratio in result["relative"].values())
        speed = result["samples_per_second"]
        told = f"better in {better} of {len(plain)}"
        print(f"{name:32} {result['median']:.3f}  {told}  {speed:.0f} samples/s")
    (given.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
