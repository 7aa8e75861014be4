"""Checkpoints move between layouts without a bit changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from ofacore.checkpoint import CheckpointError, is_sharded, load, save_sharded, stored
from ofacore.training.state.sharded_state import restore_shards
from tests.parallel.checkpoint_cases import READERS, WRITERS, trainer, unequal
from tests.parallel.launching import launch

pytestmark = [pytest.mark.dist, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("checkpoints")
    done = launch("tests.parallel.checkpoint_cases", 4, str(made), timeout=800)
    assert not any(code for code, _ in done), "\n".join(
        output[-3000:] for code, output in done if code
    )
    return made


def test_any_layout_reads_what_any_other_wrote(folder: Path) -> None:
    for rank in range(4):
        found = json.loads((folder / f"found.{rank}.json").read_text())
        assert len(found) == len(WRITERS) * len(READERS)
        assert all(value == 0.0 for value in found.values()), found


@pytest.mark.parametrize("name", WRITERS)
def test_one_process_reads_whole_tensors_and_pieces(folder: Path, name: str) -> None:
    expected = load(folder / f"{name}, whole")
    assert is_sharded(folder / name)
    assert unequal(load(folder / name), expected) == 0.0
    made = trainer(folder, 2)
    restore_shards(made, folder / name, load(folder / name, tensors=False))
    assert unequal(made.snapshot(), expected) == 0.0


def test_converted_there_and_back_nothing_changes(folder: Path, tmp_path: Path) -> None:
    expected = load(folder / "tensor and pipeline, whole")
    save_sharded(tmp_path / "again", expected)
    assert unequal(load(tmp_path / "again"), expected) == 0.0
    assert (
        not list((tmp_path / "again").rglob("*.pt"))
        and not (tmp_path / "again/shards/.metadata").exists()
    )


def test_a_damaged_shard_and_a_missing_tensor_are_told(folder: Path, tmp_path: Path) -> None:
    expected = load(folder / "tensor and pipeline, whole")
    some = dict(list(expected.model.items())[1:])
    place = save_sharded(tmp_path / "fewer", type(expected)(some, expected.state))
    made = trainer(tmp_path, 2)
    with pytest.raises(CheckpointError, match="missing"):
        restore_shards(made, place, load(place, tensors=False))
    shard = next((place / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="100 bytes"):
        load(place)


def test_shards_hold_each_number_once(folder: Path) -> None:
    """Processes that hold the same write it once."""
    for name in WRITERS:
        held = sum(torch.Size(entry.shape).numel() for entry in stored(folder / name).values())
        written = 0
        for path in (folder / name / "shards").iterdir():
            with safe_open(path, "pt") as file:
                written += sum(
                    torch.Size(file.get_slice(key).get_shape()).numel()
                    for key in sorted(file.keys())
                )
        assert written == held
