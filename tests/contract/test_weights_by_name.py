"""Checkpoints are read and written by the names of their weights, as a plugin that merges models does."""

from __future__ import annotations

import pytest
import torch

from ofacore import Generalist, Task, read_checkpoint, write_checkpoint
from ofacore.ground.errors import UserError
from tests.contract.test_losses import LINE, ROWS, SIZES


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory):
    """A run in bf16 with averages, and its model saved."""
    root = tmp_path_factory.mktemp("weights")
    model = Generalist.create([Task("turn", LINE, train=ROWS)], **SIZES)
    model.fit(steps=3, samples=8, out=root / "run", precision="bf16", ema=0.5)
    model.save(root / "saved")
    return model, root


def test_every_exact_weight_is_there_by_its_name(folders):
    model, root = folders
    for folder in (root / "run", root / "saved"):
        found, wanted = read_checkpoint(folder), model.model.portable_state()
        assert set(found) == set(wanted) and len(found) == len(wanted)
        for name, value in wanted.items():
            assert found.shape(name) == tuple(value.shape)
            assert torch.equal(found[name], value) and found[name].dtype == value.dtype


def test_merged_weights_answer_as_they_should(folders, tmp_path):
    model, root = folders
    own = read_checkpoint(root / "saved")
    merged = {name: (own[name] + own[name].float() * 3).to(torch.bfloat16) / 4 for name in own}
    write_checkpoint(tmp_path / "merged", merged, like=root / "run")
    again = Generalist.from_pretrained(tmp_path / "merged")
    for name, value in again.model.portable_state().items():
        torch.testing.assert_close(value, own[name], atol=2e-2, rtol=2e-2)
        assert value.dtype == own[name].dtype
    write_checkpoint(tmp_path / "same", own, like=own)
    exact = Generalist.from_pretrained(tmp_path / "same")
    row = [{"a": "red cat"}]
    assert exact.infer("turn", row)[0].values == model.infer("turn", row)[0].values


def test_what_does_not_fit_is_named_and_nothing_is_written(folders, tmp_path):
    _, root = folders
    own = read_checkpoint(root / "saved")
    name = next(iter(own))
    faults = {
        f"missing: {name}": {key: value for key, value in own.items() if key != name},
        "unexpected: more": {**own, "more": torch.zeros(1)},
        f"different shape: {name}": {**own, name: torch.zeros(1, 1, 1)},
        f"'{name}' is torch.int64; expected floating": {**own, name: own[name].long()},
    }
    for told, weights in faults.items():
        with pytest.raises(UserError) as caught:
            write_checkpoint(tmp_path / "bad", weights, like=root / "saved")
        assert told in str(caught.value)
    assert not any(tmp_path.iterdir())
    with pytest.raises(UserError, match="is not empty"):
        write_checkpoint(root / "run", own, like=own)


def test_a_damaged_file_is_named(folders, tmp_path):
    _, root = folders
    write_checkpoint(tmp_path / "copy", read_checkpoint(root / "saved"), like=root / "saved")
    opened = read_checkpoint(tmp_path / "copy")
    file = tmp_path / "copy" / "model.safetensors"
    file.write_bytes(b"\xff" * file.stat().st_size)
    with pytest.raises(UserError, match="model.safetensors: damaged"):
        opened[next(iter(opened))]
    with pytest.raises(UserError, match="model.safetensors: damaged"):
        read_checkpoint(tmp_path / "copy")
    with pytest.raises(UserError, match="no such checkpoint folder"):
        read_checkpoint(tmp_path / "nowhere")
