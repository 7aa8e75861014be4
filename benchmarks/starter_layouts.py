"""The starter run under TP2 x PP2 against one process: the losses of every task in every step.

Run: ``python benchmarks/starter_layouts.py``, or quicker with ``--samples 24 --micro-batch 6``

Both sides are ``ofa train starter`` with the same settings, but for ``--nproc 4 --tp 2 --pp 2`` on the second: fp32, no
dropout, no drop path, micro-batches of a few samples so that stages have something to hand on. The starter data are
fetched at first use. Saved: the largest difference of any loss of any step, those of each step, and both times. The
times mean something only where every process has a core of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from measuring import save

LIMIT = 1e-4
LAYOUT = ("--nproc", "4", "--tp", "2", "--pp", "2")
SETTINGS: dict[str, object] = {
    "train.precision": "fp32",
    "model.dropout": 0,
    "model.attention_dropout": 0,
    "model.activation_dropout": 0,
    "model.encoder_drop_path": 0,
    "model.decoder_drop_path": 0,
    "train.threads": 1,
    "train.log_every": 1,
    "train.trackers": "[jsonl]",
    "train.checkpoint.every": 0,
    "train.validation.samples": 2,
    "generation.max_length": 1,
    "generation.beam": 1,
    "generation.steps": 1,
}
"""Of both sides. What is written after the last step is not compared, so it is kept short."""
Curve = list[dict[str, float]]


def trained(
    folder: Path, settings: Mapping[str, object], steps: int, layout: Sequence[str]
) -> float:
    """Run the command; returns its seconds."""
    chosen = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    command = [
        sys.executable,
        "-m",
        "ofa_cli.main",
        "train",
        "starter",
        "--steps",
        str(steps),
        "--out",
        str(folder),
    ]
    began = time.perf_counter()
    subprocess.run([*command, *chosen, *layout], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def curve(folder: Path) -> Curve:
    """Losses of the terms, step by step; those of validation are left out."""
    records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    losses = [
        {name: v for name, v in r.items() if name.startswith("train/") and name.count("/") == 2}
        for r in records
    ]
    return [
        {n: v for n, v in record.items() if not n.startswith("train/faults/")}
        for record in losses
        if record
    ]


def apart(left: Curve, right: Curve) -> list[float]:
    """Of each step, the largest difference of any loss.

    Raises:
        SystemExit: The runs do not report the same losses.
    """
    if [set(step) for step in left] != [set(step) for step in right]:
        raise SystemExit("the two runs report other losses")
    return [max(abs(a[name] - b[name]) for name in a) for a, b in zip(left, right, strict=True)]


def compare(args: argparse.Namespace, folder: Path) -> bool:
    """Both sides, and what they have in common; whether the limit holds."""
    settings = {
        **SETTINGS,
        "train.optimizer.name": args.optimizer,
        "train.samples": args.samples,
        "train.micro_batch_samples": args.micro_batch,
    }
    sides = {"one process": (), "TP2 PP2": LAYOUT}
    seconds = {
        name: trained(folder / name, settings, args.steps, flags) for name, flags in sides.items()
    }
    one, many = (curve(folder / name) for name in sides)
    differences = apart(one, many)
    result = {
        "optimizer": args.optimizer,
        "steps": len(one),
        "samples a step": args.samples,
        "samples a micro-batch": args.micro_batch,
        "losses a step": sorted({len(step) for step in one}),
        "largest difference": max(differences),
        "limit": LIMIT,
        "differences": differences,
        "loss of the first and last step": [sum(one[n].values()) for n in (0, -1)],
        "seconds of the command": seconds,
        "layout": " ".join(LAYOUT),
        "settings": settings,
    }
    print(json.dumps({key: value for key, value in result.items() if key != "settings"}, indent=1))
    save(
        "starter_tp2_pp2" if args.optimizer == "muon" else f"starter_tp2_pp2_{args.optimizer}",
        result,
    )
    return max(differences) <= LIMIT


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument(
        "--samples", type=int, default=96, help="Of a step; the starter run takes 96."
    )
    parser.add_argument(
        "--micro-batch", type=int, default=24, help="Most samples in a micro-batch."
    )
    parser.add_argument("--optimizer", default="muon", choices=["muon", "adamw", "sgd"])
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        if not compare(args, Path(folder)):
            raise SystemExit(f"the curves differ by more than {LIMIT}")


if __name__ == "__main__":
    main()
