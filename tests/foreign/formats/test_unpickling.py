"""Files of PyTorch are read as data: tensors exactly, unknown objects as records, harm refused by name."""

from __future__ import annotations

import argparse
import collections
import enum
import os
import pickle
import sys
import types
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_foreign.formats.inert import plain
from ofa_foreign.formats.unpickling import LazyTensor, read_torch_file
from ofacore.checkpoint import CheckpointError


def tensors() -> dict[str, torch.Tensor]:
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    return {
        "whole": base,
        "view": base[1:3, ::2],
        "transposed": base.T,
        "half": torch.randn(3, 5, generator=torch.Generator().manual_seed(1)).half(),
        "bf16": torch.linspace(-1, 1, 7, dtype=torch.bfloat16),
        "long": torch.tensor([2**40, -1]),
        "flags": torch.tensor([True, False]),
        "number": torch.tensor(3.5),
        "empty": torch.empty(0, 4),
    }


@pytest.mark.parametrize("new", [True, False], ids=["archive", "legacy"])
def test_tensors_are_read_bit_for_bit(new: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    expected = {**tensors(), "parameter": torch.nn.Parameter(torch.ones(2, 3))}
    torch.save({"model": expected, "step": 7}, path, _use_new_zipfile_serialization=new)
    found = read_torch_file(path)
    assert found["step"] == 7
    assert set(found["model"]) == set(expected)
    for name, value in expected.items():
        read = found["model"][name].read()
        assert (
            read.dtype == value.dtype
            and read.shape == value.shape
            and torch.equal(read, value.data)
        ), name


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module that is gone when the file is read."""
    module = types.ModuleType("vanished_trainer")
    body = """
import enum
class Kind(enum.Enum):
    FIRST = 1
class Config:
    def __init__(self, **values):
        self.__dict__.update(values)
class Node(dict):
    def __init__(self, content):
        self._content = content
    def __reduce__(self):
        return (Node, (None,), {'_content': self._content})
class Value:
    def __init__(self, value):
        self._val = value
"""
    exec(compile(body, "vanished_trainer", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "vanished_trainer", module)
    return module


def test_unknown_objects_become_records_and_nothing_is_imported(
    unknown: types.ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "a.pt"
    value = {
        "args": argparse.Namespace(arch="small", layers=[1, 2]),
        "kind": unknown.Kind.FIRST,
        "config": unknown.Config(width=64, inner=unknown.Config(depth=2)),
        "node": unknown.Node({"width": unknown.Value(3)}),
        "counts": collections.defaultdict(list, {"a": [1]}),
        "path": Path("a/b"),
    }
    torch.save(value, path)
    del sys.modules["vanished_trainer"]
    found = plain(read_torch_file(path))
    assert "vanished_trainer" not in sys.modules
    assert found["args"] == {"arch": "small", "layers": [1, 2]}
    assert found["kind"] == 1
    assert found["config"] == {"width": 64, "inner": {"depth": 2}}
    assert found["node"] == {"width": 3}


class Harm:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def _unknown_function(*_: object) -> None:
    raise AssertionError("must not be called")


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (Harm(os.system, "touch HARM"), "posix.system"),
        (Harm(eval, "open('HARM', 'w')"), "builtins.eval"),
        (Harm(exec, "open('HARM', 'w')"), "builtins.exec"),
        (Harm(__import__, "antigravity"), "builtins.__import__"),
        (Harm(getattr, "text", "upper"), "builtins.getattr"),
        (Harm(_unknown_function, 1), "_unknown_function"),
        (Harm(pickle.loads, b"N."), "pickle.loads"),
        (Harm(torch.load, "x"), "torch.serialization.load"),
    ],
)
@pytest.mark.parametrize("new", [True, False], ids=["archive", "legacy"])
def test_code_is_refused_by_name(
    call: Harm, name: str, new: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.pt"
    torch.save(
        {"model": {"a": torch.ones(2)}, "args": call}, path, _use_new_zipfile_serialization=new
    )
    with pytest.raises(CheckpointError, match="run code") as caught:
        read_torch_file(path)
    assert name in str(caught.value)
    assert not Path("HARM").exists()


@pytest.mark.parametrize("new", [True, False], ids=["archive", "legacy"])
@settings(max_examples=25, deadline=None)
@given(share=st.floats(0.0, 0.999))
def test_a_cut_file_is_told_never_read(
    new: bool, share: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.pt"
    torch.save({"model": tensors()}, path, _use_new_zipfile_serialization=new)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError) as caught:
        found = read_torch_file(path)
        [part.read() for part in found["model"].values()]
    assert str(path) in str(caught.value)


def test_a_tensor_that_reaches_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"a": torch.ones(4)}, path)
    found: LazyTensor = read_torch_file(path)["a"]
    with pytest.raises(ValueError, match="bytes"):
        LazyTensor(found.storage, 2, (4,), (1,)).read()
    with pytest.raises(ValueError, match="bytes"):
        LazyTensor(found.storage, 3, (2,), (-1,)).read()


def test_members_of_enumerations_by_attribute(tmp_path: Path) -> None:
    class Colour(enum.Enum):
        RED = "red"

        def __reduce_ex__(self, protocol: int) -> tuple:
            return getattr, (Colour, "RED")

    path = tmp_path / "a.pt"
    Colour.__qualname__ = "Colour"
    globals()["Colour"] = Colour
    torch.save({"a": Colour.RED}, path)
    assert plain(read_torch_file(path))["a"] == "RED"


def test_classes_in_small_letters_are_data_too(unknown: types.ModuleType, tmp_path: Path) -> None:
    exec("class settings:\n    pass", unknown.__dict__)
    value = unknown.settings()
    value.width = 3
    torch.save({"a": value}, tmp_path / "a.pt")
    assert plain(read_torch_file(tmp_path / "a.pt"))["a"] == {"width": 3}
