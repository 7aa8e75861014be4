"""``ofa train --dry-run`` tells how much memory training will take."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CONFIG = """
tasks:
  task: {{instruction: "{instruction}", data: {{train: rows.jsonl}}}}
model: {{preset: tiny}}
train: {{steps: 4, samples: {samples}, precision: fp32, threads: 1, ema: 0.9, optimizer: {{name: {optimizer}}}}}
"""


def texts(folder: Path) -> list[dict[str, str]]:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefgh"), 4)) for _ in range(50)]
    return [
        {"a": " ".join(rng.choice(words, 40)), "b": " ".join(rng.choice(words, 30))}
        for _ in range(64)
    ]


def pictures(folder: Path) -> list[dict[str, str]]:
    rng = np.random.default_rng(0)
    for number in range(8):
        Image.fromarray(rng.integers(0, 256, (160, 160, 3), dtype=np.uint8)).save(
            folder / f"{number}.png"
        )
    return [{"img": f"{number % 8}.png", "b": "a dog on the grass"} for number in range(32)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("instruction", "rows", "samples", "optimizer"),
    [
        ("[TEXT:a] -> [TEXT:b]", texts, 64, "adamw"),
        ("[IMAGE:img,size=160] what? -> [TEXT:b]", pictures, 16, "muon"),
    ],
)
def test_expected_and_measured_memory_are_near(
    ofa, tmp_path, monkeypatch, instruction, rows, samples, optimizer
):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(tmp_path)))
    (tmp_path / "run.yaml").write_text(
        CONFIG.format(instruction=instruction, samples=samples, optimizer=optimizer)
    )
    monkeypatch.chdir(tmp_path)
    said = ofa("train", "run.yaml", "--dry-run").stdout
    expected, measured = (
        int(re.search(rf"memory {what}: ([\d,]+) MB", said)[1].replace(",", ""))
        for what in ("expected", "measured")
    )
    assert 0.8 < expected / measured < 1.2, said
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.suffix != ".png") == [
        ".jsonl",
        ".yaml",
    ]
