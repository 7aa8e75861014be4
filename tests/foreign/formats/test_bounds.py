"""A small file that asks for much memory is refused before it gets any."""

from __future__ import annotations

import io
import json
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from ofa_foreign.formats.bounds import Budget, check_pickle
from ofa_foreign.formats.reading import read_foreign
from ofa_foreign.formats.weight_files import load_tensors
from ofacore.checkpoint import CheckpointError

ROOM = 2**28
"""Bytes that reading may take on top of what the process has: each file asks for a gigabyte and more."""
NUMBER = 400_000_000
_READ = """
import json, resource, sys
from pathlib import Path
import torch
from ofacore.checkpoint import CheckpointError
from ofa_foreign.formats.reading import read_foreign
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
told = {}
for path in sys.argv[2:]:
    try:
        read_foreign(Path(path))
        told[path] = "read"
    except CheckpointError as error:
        told[path] = str(error)
print(json.dumps(told))
"""


def archive(path: Path, content: bytes, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("a/data.pkl", content)
        file.writestr("a/data/0", struct.pack("<4f", 1, 2, 3, 4))


def far_memo(path: Path) -> None:
    archive(path, b"\x80\x02}r" + struct.pack("<I", NUMBER) + b".")


def far_memo_of_old(path: Path) -> None:
    path.write_bytes(b"\x80\x02}r" + struct.pack("<I", NUMBER) + b".")


def one_number(path: Path) -> None:
    torch.save({"model": {"encoder.a": torch.ones(1).expand(20_000, 20_000)}}, path)


def many_views(path: Path) -> None:
    numbers = torch.ones(1000, 1000)
    torch.save(
        {"model": {f"encoder.{number}": numbers[:, : 1000 - number] for number in range(500)}}, path
    )


def deflated(path: Path) -> None:
    archive(path, b"\x80\x02(" + b"]" * 80_000_000 + b"l.", zipfile.ZIP_DEFLATED)


def many_lists(path: Path) -> None:
    archive(path, b"\x80\x02(" + b"]" * 20_000_000 + b"l.")


def doubled(path: Path) -> None:
    settings: Any = ["x"]
    for _ in range(40):
        settings = [settings, settings]
    state = {"encoder.adaptor.a": torch.ones(1)}
    torch.save({"model": state, "configstore": {"model": {"unify": {"a": settings}}}}, path)


def copies(path: Path) -> None:
    """One list of a million elements, and a thousand calls that copy it."""
    stream = io.BytesIO()
    pickle.Pickler(stream, 2).dump([0] * 1_000_000)
    whole = stream.getvalue()[:-1] + b"q\xfa0"
    archive(path, whole + b"cbuiltins\nlist\nq\xfb0(" + b"h\xfbh\xfa\x85R" * 1000 + b"l.")


FILES = [far_memo, far_memo_of_old, one_number, many_views, deflated, many_lists, doubled, copies]


def test_memory_is_bounded_by_the_size_of_the_file(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    if not Path("/proc/self/statm").exists():
        pytest.skip("the size of a process is read from /proc")
    paths = {make.__name__: tmp_path / f"{make.__name__}.pt" for make in FILES}
    for make in FILES:
        make(paths[make.__name__])
    assert paths["far_memo_of_old"].stat().st_size < 227
    words = [sys.executable, "-c", _READ, str(ROOM), *map(str, paths.values())]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    for name, path in paths.items():
        assert told[str(path)].startswith(f"{path}: refused: "), (name, told[str(path)])


def nested(depth: int) -> Any:
    value: Any = {"x": 1}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("settings", "words"),
    [(nested(200), "more than 100 deep"), ({"a": 10**5000}, "a whole number of 16610 bits")],
    ids=["deep", "a long number"],
)
def test_settings_that_are_none(settings: Any, words: str, tmp_path: Path) -> None:
    state = {"encoder.adaptor.a": torch.ones(1)}
    torch.save({"model": state, "configstore": {"model": {"unify": settings}}}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=words):
        read_foreign(tmp_path / "a.pt")


def test_keys_of_any_kind_become_short_text(tmp_path: Path) -> None:
    key: Any = ("x",)
    for _ in range(12):
        key = (key, key)
    state = {"encoder.adaptor.a": torch.ones(1)}
    torch.save(
        {"model": state, "configstore": {"model": {"unify": {key: 1, 7: 2}}}}, tmp_path / "a.pt"
    )
    config = read_foreign(tmp_path / "a.pt").config
    assert config["7"] == 2 and max(map(len, config)) < 1000


def save_tied(path: Path) -> None:
    table = torch.randn(50, 8)
    torch.save({"a": table, "b": table, "c": table[3:], "d": table.T, "e": torch.ones(())}, path)


def test_views_of_one_storage_are_tensors_of_their_own(tmp_path: Path) -> None:
    save_tied(tmp_path / "a.pt")
    expected, found = (
        torch.load(tmp_path / "a.pt", weights_only=True),
        load_tensors(tmp_path / "a.pt"),
    )
    assert list(found) == list(expected)
    assert all(
        found[name].equal(expected[name]) and found[name].is_contiguous() for name in expected
    )
    assert len({tensor.untyped_storage().data_ptr() for tensor in found.values()}) == len(found)


def test_an_archive_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(
        {f"t{number}": torch.full((2,), float(number)) for number in range(30)}, tmp_path / "a.pt"
    )
    opened = []
    own = zipfile.ZipFile.__init__
    monkeypatch.setattr(
        zipfile.ZipFile, "__init__", lambda self, *a, **k: (opened.append(1), own(self, *a, **k))[1]
    )
    found = load_tensors(tmp_path / "a.pt")
    assert [float(found[f"t{number}"][0]) for number in range(30)] == [
        float(number) for number in range(30)
    ]
    assert len(opened) == 1


def test_what_writers_write_is_never_refused() -> None:
    """Their numbers of stored objects follow each other, whatever the protocol."""
    value = [{str(number): [number, (number, str(number))]} for number in range(5000)]
    for protocol in (0, 1, 2, 3, 4, 5):
        stream = io.BytesIO(pickle.dumps(value, protocol))
        check_pickle(stream, Budget(len(stream.getvalue())))
        assert stream.tell() == 0 and pickle.load(stream) == value
