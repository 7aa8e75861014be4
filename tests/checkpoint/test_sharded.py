"""The sharded form with one process: what may share memory, what is refused, and both forms side by side."""

from pathlib import Path

import pytest
import torch

from ofacore.checkpoint import (
    CheckpointError,
    Snapshot,
    is_sharded,
    load,
    read_shards,
    save,
    save_sharded,
)
from ofacore.parallel.held_parts import placed


def same(left: Snapshot, right: Snapshot) -> bool:
    pairs = [(getattr(left, kind), getattr(right, kind)) for kind in ("model", "optimizer", "ema")]
    return all(a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a) for a, b in pairs)


def test_tensors_that_share_memory_are_stored_once_for_each_name(tmp_path: Path) -> None:
    table, step = torch.randn(6, 3), torch.tensor(4.0)
    snapshot = Snapshot(
        {"a": table[:2], "b": table[2:]},
        {"step": 4},
        {"a|step": step, "b|step": step, "a|m": table.bfloat16()[:2]},
        {"methods": {}},
        {"a": table[:2]},
    )
    save_sharded(tmp_path / "s", snapshot)
    save(tmp_path / "p", snapshot)
    assert is_sharded(tmp_path / "s") and not is_sharded(tmp_path / "p")
    assert same(load(tmp_path / "s"), snapshot) and same(load(tmp_path / "p"), snapshot)
    assert load(tmp_path / "s").optimizer_structure == {"methods": {}}
    assert (
        not load(tmp_path / "s", optimizer=False).optimizer
        and not load(tmp_path / "s", tensors=False).model
    )


def test_a_piece_is_read_from_its_place(tmp_path: Path) -> None:
    whole = torch.randn(6, 4)
    save_sharded(tmp_path / "s", Snapshot({"w": whole}))
    into = placed(torch.empty(2, 4), (6, 4), (3, 0))
    read_shards(tmp_path / "s", {"model/w": into})
    assert torch.equal(into, whole[3:5])


def test_another_shape_and_a_missing_name_are_refused_by_name(tmp_path: Path) -> None:
    save_sharded(tmp_path / "s", Snapshot({"w": torch.ones(3)}))
    with pytest.raises(
        CheckpointError,
        match=r"missing: model/v; different shape: model/w: stored \[3\], here \[4\]",
    ):
        read_shards(tmp_path / "s", {"model/w": torch.ones(4), "model/v": torch.ones(1)})


def test_a_folder_that_cannot_be_written_is_as_before(tmp_path: Path) -> None:
    save_sharded(tmp_path / "s", Snapshot({"w": torch.ones(3)}, {"step": 1}))
    with pytest.raises(ValueError, match="JSON"):
        save_sharded(tmp_path / "s", Snapshot({"w": torch.zeros(3)}, {"step": float("nan")}))
    assert load(tmp_path / "s").state["step"] == 1 and torch.equal(
        load(tmp_path / "s").model["w"], torch.ones(3)
    )
