"""``ofa train`` as one of several processes: what it refuses before anything starts, and how it tells errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

RANK = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--nproc", "3", "--tp", "2"],
            "3 processes cannot be divided into groups of --tp 2 x --pp 1",
        ),
        (
            ["--nproc", "3", "--tp", "3"],
            "4 attention heads cannot be shared by --tp 3 processes; nearest that works: 2 or 4",
        ),
        (
            ["--nproc", "9", "--pp", "9"],
            "2 encoder + 2 decoder layers cannot be cut into --pp 9 stages",
        ),
    ],
)
def test_an_impossible_layout_is_refused_before_anything_starts(ofa, tmp_path, flags, said):
    told = ofa("train", config(tmp_path), *flags, "--out", str(tmp_path / "out"), code=2).stderr
    assert said in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "way_out"),
    [
        (["--pp", "2"], "use --pp 1"),
        (["--fsdp"], "leave --fsdp out"),
        (["--ep", "2", "--set", "model.experts=topk"], "leave --ep out"),
    ],
)
def test_a_criterion_that_no_process_can_compute_alone_is_refused_before_anything_starts(
    ofa, tmp_path, flags, way_out
):
    run = Path(config(tmp_path))
    run.write_text(run.read_text().replace("[TEXT:b]", "[TEXT:b,criterion=self_critical]"))
    told = ofa(
        "train", str(run), "--nproc", "2", *flags, "--out", str(tmp_path / "out"), code=2
    ).stderr
    assert "tasks.t: criterion 'self_critical' trains on sequences sampled from the model" in told
    assert way_out in told
    assert not (tmp_path / "out").exists()


def test_without_a_launcher_that_listens_a_process_tells_its_own_error(ofa, tmp_path):
    told = ofa("train", str(tmp_path / "none.yaml"), code=2, **RANK)
    assert told.stderr.startswith("error: rank 1: ") and told.stdout == ""


def test_a_launcher_that_listens_finds_the_error_in_its_folder(ofa, tmp_path):
    told = ofa("train", str(tmp_path / "none.yaml"), code=2, OFA_RANKS=str(tmp_path), **RANK)
    report = json.loads((tmp_path / "error-1.json").read_text())
    assert report["user"] and "none.yaml" in report["message"]
    assert told.stderr == ""


def config(folder: Path) -> str:
    (folder / "rows.jsonl").write_text('{"a": "x", "b": "y"}\n')
    path = folder / "run.yaml"
    path.write_text(
        'tasks: {t: {instruction: "say [TEXT:a] -> [TEXT:b]", data: {train: %s}}}\nmodel: {preset: starter}\n'
        % (folder / "rows.jsonl")
    )
    return str(path)
