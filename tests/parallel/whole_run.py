"""A short run with the real plugins, the same under every layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ofacore import Generalist, Task
from ofacore.batching.steps import Step, StepLoader

WORDS = ("red", "green", "blue", "cat", "dog", "sun", "moon", "star", "tree")
ROWS = [
    {"a": f"{x} {y}", "b": f"{y} {x}", "n": str(len(x))} for x in WORDS for y in WORDS if x != y
]
SIZES = {
    "hidden": 32,
    "ffn": 64,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "dropout": 0.0,
    "experts": "modality",
}


def run(folder: Path, steps: int, resume: bool = False) -> dict[str, float]:
    """Train to so many steps; returns the losses of every step and the scores."""
    tasks = [
        Task(
            "swap",
            "swap: [TEXT:a] -> [TEXT:b]",
            train=ROWS,
            valid=ROWS[:6],
            test=ROWS[:6],
            metrics=[{"metric": "token_f1", "slot": "b"}],
        ),
        Task("count", "count: [TEXT:a] -> [TEXT:n]", train=ROWS[:40], valid=ROWS[:5]),
    ]
    options: dict[str, Any] = {
        "samples": 6,
        "precision": "fp32",
        "threads": 1,
        "trackers": ("jsonl",),
        "log_every": 1,
        "micro_batch_samples": 4,
        "lr": {"name": "constant"},
        "ema": 0.5,
        "optimizer": {"name": "sgd", "lr": 0.05, "sgd_momentum": 0.5, "clip": 0.5},
    }
    model = Generalist.create(tasks, preset="tiny", **SIZES)
    model.fit(steps, out=folder, resume=resume, **options)
    scores = {
        f"{row.task}/{row.metric}": row.score
        for row in model.evaluate(baseline=False, max_length=6)
    }
    return {**logged(folder), **scores}


@contextmanager
def samples_seen() -> Iterator[dict[int, list[str]]]:
    """Step -> samples that this process takes, by task, row and number, while a run goes on."""
    seen: dict[int, list[str]] = {}
    plain = StepLoader.__iter__

    def noting(loader: StepLoader) -> Iterator[Step]:
        with closing(plain(loader)) as steps:
            for step in steps:
                found = [sample for batch in step.batches for sample in batch.samples]
                seen[step.number] = [f"{one.task} {one.row_id} {one.number}" for one in found]
                yield step

    StepLoader.__iter__ = noting  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        StepLoader.__iter__ = plain  # type: ignore[method-assign]


def logged(folder: Path) -> dict[str, float]:
    """``step/name`` -> value, of what the run wrote."""
    found = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        for name, value in record.items():
            if isinstance(value, float) and (
                "loss" in name or name.count("/") == 2 or "norm" in name
            ):
                found[f"{record['step']}/{name}"] = value
    return found
