"""Checkpoints: round trip, damage, pointers, pruning."""

import json
import os
import subprocess
import sys

import pytest
import torch

from ofacore.checkpoint import (
    CheckpointError,
    Snapshot,
    check_fit,
    checkpoints,
    find_latest,
    load,
    load_state,
    prune,
    read_pointer,
    save,
    step_folder,
    write_pointer,
)
from ofacore.ground.artifacts import Artifact


def snapshot(step=1):
    return Snapshot(
        model={"a": torch.full((2, 3), float(step)), "b": torch.arange(3).bfloat16()},
        state={"step": step, "cursor": {"task": 7}, "config": {"x": None}},
        optimizer={"a|exp_avg": torch.ones(2, 3), "a|step": torch.tensor(4.0)},
        optimizer_structure={"methods": {"a": "adamw"}},
        ema={"a": torch.zeros(2, 3)},
        artifacts={
            "text/bpe": Artifact({"merges.txt": b"a b"}),
            "codec": Artifact.of_json("x.json", [1]),
        },
    )


def test_round_trip(tmp_path):
    first = Snapshot(**{**vars(snapshot()), "artifacts": {"bpe": Artifact({"merges.txt": b"a b"})}})
    back = load(save(tmp_path / "c", first))
    for kind in ("model", "optimizer", "ema"):
        stored, read = getattr(first, kind), getattr(back, kind)
        assert stored.keys() == read.keys()
        assert all(
            torch.equal(stored[n], read[n]) and stored[n].dtype == read[n].dtype for n in stored
        )
    assert {k: v for k, v in back.state.items() if k != "artifacts"} == first.state
    assert back.artifacts["bpe"].digest == first.artifacts["bpe"].digest
    assert back.optimizer_structure == first.optimizer_structure
    assert load_state(tmp_path / "c")["step"] == 1
    assert load(tmp_path / "c", optimizer=False).optimizer == {}


def test_artifacts_of_names_with_a_slash(tmp_path):
    back = load(save(tmp_path / "c", snapshot()))
    assert back.artifacts["text/bpe"].files == {"merges.txt": b"a b"}


def test_tensors_that_share_memory_are_stored_whole(tmp_path):
    table = torch.arange(6.0).view(2, 3)
    back = load(save(tmp_path / "c", Snapshot({"table": table, "tied": table, "view": table[1]})))
    assert torch.equal(back.model["tied"], table) and torch.equal(back.model["view"], table[1])


def test_saving_again_replaces(tmp_path):
    save(tmp_path / "c", snapshot(1))
    save(tmp_path / "c", snapshot(2))
    assert load(tmp_path / "c").state["step"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_failure_while_saving_leaves_the_old_one(tmp_path):
    save(tmp_path / "c", snapshot(1))
    with pytest.raises(TypeError):
        save(tmp_path / "c", Snapshot(model={}, state={"step": object()}))
    assert load(tmp_path / "c").state["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


@pytest.mark.skipif(
    not hasattr(os, "fork"), reason="limits the size of files of a process of its own"
)
def test_a_full_disk_is_named_and_leaves_the_old_one(tmp_path):
    save(tmp_path / "c", snapshot(1))
    script = (
        "import resource, sys; from pathlib import Path; import torch; from ofacore.checkpoint import Snapshot, save\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: save(Path(sys.argv[1]), Snapshot({'w': torch.zeros(9999)}, {'step': 2}))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "c")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"CheckpointError {tmp_path / 'c'}: cannot be written (")
    assert load(tmp_path / "c").state["step"] == 1 and [
        path.name for path in tmp_path.iterdir()
    ] == ["c"]


@pytest.mark.parametrize(
    "name", ["model.safetensors", "state.json", "optimizer.safetensors", "ema.safetensors"]
)
def test_truncated_files_are_named(tmp_path, name):
    folder = save(tmp_path / "c", snapshot())
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(
        CheckpointError, match=rf"{name}: damaged: {len(content) // 2} bytes, {len(content)} were"
    ):
        load(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "state.json"])
def test_garbage_of_the_right_size_is_named(tmp_path, name):
    folder = save(tmp_path / "c", snapshot())
    (folder / name).write_bytes(b"\xff" * (folder / name).stat().st_size)
    with pytest.raises(CheckpointError, match=f"{name}: damaged or not"):
        load(folder)


def test_missing_file_and_missing_folder(tmp_path):
    folder = save(tmp_path / "c", snapshot())
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model.safetensors: missing"):
        load(folder)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load(tmp_path / "nowhere")


def test_changed_artifact_is_named(tmp_path):
    folder = save(tmp_path / "c", snapshot())
    next((folder / "artifacts").rglob("merges.txt")).write_bytes(b"b a")
    with pytest.raises(CheckpointError, match="digest"):
        load(folder)


def test_misfit_names_missing_unexpected_and_both_shapes(tmp_path):
    stored = {"a": torch.zeros(2), "old": torch.zeros(1)}
    wanted = {"a": torch.zeros(3), "new": torch.zeros(1)}
    with pytest.raises(
        CheckpointError, match=r"missing: new; unexpected: old; .*a: stored \[2\], model \[3\]"
    ):
        check_fit(tmp_path, stored, wanted)
    check_fit(tmp_path, stored, stored)


@pytest.mark.parametrize("text", ["{}", '{"files": 3}', "[]"])
def test_a_foreign_marker_is_named(tmp_path, text):
    folder = save(tmp_path / "c", snapshot())
    (folder / "COMPLETE").write_text(text)
    with pytest.raises(CheckpointError, match="COMPLETE"):
        load(folder)


def test_what_is_no_checkpoint_is_left_alone(tmp_path):
    for step in (1, 2, 3):
        save(step_folder(tmp_path, step), snapshot(step))
    own = tmp_path / "checkpoints" / "step-notes"
    own.mkdir()
    (own / "COMPLETE").write_text("{}")
    prune(tmp_path, keep_last=1)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000003"] and own.is_dir()


def test_a_damaged_pointer_tells_the_way_out(tmp_path):
    save(step_folder(tmp_path, 1), snapshot(1))
    (tmp_path / "checkpoints" / "latest").write_text("")
    with pytest.raises(
        CheckpointError, match="latest: not a pointer .* delete it, and the newest complete"
    ):
        find_latest(tmp_path)


def test_a_pointer_that_cannot_be_written_is_named_and_nothing_remains(tmp_path):
    folder = save(step_folder(tmp_path, 1), snapshot(1))
    (tmp_path / "checkpoints" / "latest").mkdir()
    with pytest.raises(
        CheckpointError, match="latest: cannot be written .* though step-000001 is complete"
    ):
        write_pointer(tmp_path, "latest", folder, step=1)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "latest",
        "step-000001",
    ]


def test_latest_ignores_incomplete_ones(tmp_path):
    assert find_latest(tmp_path) is None
    one = save(step_folder(tmp_path, 1), snapshot(1))
    two = save(step_folder(tmp_path, 2), snapshot(2))
    assert find_latest(tmp_path) == two
    (two / "COMPLETE").unlink()
    assert find_latest(tmp_path) == one
    write_pointer(tmp_path, "latest", two, step=2)
    assert read_pointer(tmp_path, "latest") is None and find_latest(tmp_path) == one


def test_pruning_keeps_the_last_the_latest_and_the_best(tmp_path):
    for step in range(1, 7):
        save(step_folder(tmp_path, step), snapshot(step))
    write_pointer(tmp_path, "best", step_folder(tmp_path, 2), step=2, score=0.5)
    write_pointer(tmp_path, "latest", step_folder(tmp_path, 3), step=3)
    (tmp_path / "checkpoints" / ".tmp-step-000009-1").mkdir()
    prune(tmp_path, keep_last=2)
    assert [path.name for path in checkpoints(tmp_path)] == [f"step-{n:06d}" for n in (2, 3, 5, 6)]
    assert not list((tmp_path / "checkpoints").glob(".tmp-*"))
    assert json.loads((tmp_path / "checkpoints" / "best").read_text())["score"] == 0.5
