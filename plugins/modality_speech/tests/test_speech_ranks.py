"""Losses of sounds are the same, however the work is divided."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

RUN = """
name: ranks
tasks:
  hear:
    instruction: "[AUDIO:wav,use_mask] -> [TEXT:t,level=character]"
    data: {train: rows.csv}
    losses:
      - {criterion: cross_entropy, hidden: t}
      - {criterion: ctc, hidden: wav, labels: t, head: ctc}
      - {criterion: audio_masked, hidden: wav, head: audio_masked}
  say:
    instruction: "say [TEXT:t,level=character] -> [AUDIO:wav,n_frames_per_step=4]"
    data: {train: rows.csv}
    losses:
      - {criterion: squared_error, hidden: wav}
      - {criterion: audio_length, hidden: t, labels: wav, head: audio_length}
  write:
    instruction: "[TEXT:t,level=character] -> [AUDIO:wav,preprocess=audio_steps,n_frames_per_step=4]"
    data: {train: rows.csv}
options:
  preprocessor/audio: {bins: 8}
  preprocessor/audio_steps: {bins: 8}
  head/audio_masked: {bins: 8}
  head/audio_steps: {postnet: 8, dropout: 0}
  adapter/audio_tgt_fbank: {dropout: 0}
  adapter/audio_fbank: {channels: 4}
model:
  preset: tiny
  hidden: 32
  ffn: 64
  heads: 2
  encoder_layers: 2
  decoder_layers: 2
  dropout: 0.0
train: {steps: 2, samples: 6, log_every: 1, precision: fp32, threads: 1, workers: 0}
"""


def losses(folder, *options):
    """Every loss of both steps of a run."""
    command = [sys.executable, "-m", "ofa_cli.main", "train", "run.yaml", *options]
    done = subprocess.run(
        [*command, "--out", "out"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr[-3000:]
    lines = (folder / "out" / "metrics.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return {
        f"{values['step']} {name}": value
        for values in found
        for name, value in values.items()
        if name.startswith("train/") and name.count("/") in (2, 3)
    }


@pytest.mark.slow
@pytest.mark.dist
def test_every_division_of_the_work_has_the_losses_of_one_process(tmp_path):
    seconds = np.arange(4000) / 16_000
    names = ["t,wav"]
    for text, pitch in {"a": 200, "bc": 500, "c": 900, "ab": 1400, "ca": 2000, "b": 3000}.items():
        path = tmp_path / f"{text}.wav"
        soundfile.write(path, np.sin(2 * np.pi * pitch * seconds), 16_000)
        names.append(f"{text},{path}")
    results = {}
    for number, options in enumerate(([], ["--tp", "2"], ["--pp", "2"], [])):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "rows.csv").write_text("\n".join(names))
        (folder / "run.yaml").write_text(RUN)
        several = ["--nproc", "2"] if number else []
        results[number] = losses(folder, *several, *options)
    alone = results[0]
    learned = {"hear/wav/ctc", "hear/wav/audio_masked", "say/t", "say/wav", "write/wav"}
    assert {f"2 train/{name}" for name in learned} <= set(alone)
    for found in (results[1], results[2], results[3]):
        assert found == pytest.approx(alone, abs=1e-5, rel=1e-5)
