"""Which files a text names, and which files the values of a table name."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from fsspec import AbstractFileSystem, filesystem
from PIL import Image

from ofacore.config import ConfigError
from ofacore.ground.patterns import alternatives, is_plain_path, named_files
from ofacore.protocols import RowError
from ofacore.runs.inspection import check_file
from ofacore.setup.run_check import read_checked
from ofacore.sources import SourceError, open_source
from ofacore.sources.value_files import found_file, may_name_file

TEXT = "[IMAGE:img,size=16] -> [TEXT:y]"


def table(path: Path, *rows: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["img,y", *rows]) + "\n", encoding="utf-8")
    return path


def test_two_stars_stand_for_folders_at_any_depth(tmp_path: Path) -> None:
    for name in ("one/x.csv", "one/two/x.csv", "one/two/three/x.csv"):
        table(tmp_path / "data" / name, f"{name},1")
    for pattern in ("data/**/*.csv", "data/**"):
        source = open_source(tmp_path / pattern)
        assert sorted(source[i]["img"] for i in range(len(source))) == [
            "one/two/three/x.csv",
            "one/two/x.csv",
            "one/x.csv",
        ]


def test_braces_stand_for_numbers_and_words() -> None:
    assert alternatives("s-{08..11}.tar") == ["s-08.tar", "s-09.tar", "s-10.tar", "s-11.tar"]
    assert alternatives("{a,b}/{0..1}") == ["a/0", "a/1", "b/0", "b/1"]
    assert alternatives("{odd}{3..1}{0..999999999}") == ["{odd}{3..1}{0..999999999}"]


def test_every_file_of_a_range_must_be_there(tmp_path: Path) -> None:
    for number in (0, 1):
        table(tmp_path / f"x{number}.csv", f"a,{number}")
    assert len(open_source(tmp_path / "x{0..1}.csv")) == 2
    with pytest.raises(
        SourceError, match=r"no file .*/x2.csv, which '.*x\{0..2\}.csv' names; did you mean"
    ):
        open_source(tmp_path / "x{0..2}.csv")
    assert named_files(str(tmp_path / "x{1..2}.csv")) == (
        [f"{tmp_path}/x1.csv"],
        [f"{tmp_path}/x2.csv"],
    )


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("pipe:curl x", "commands are not run; save what it gives as a file"),
        ("hf://datasets/a/b", "is named without address, with format: hf"),
        ("sftpp://b/x.tar", r"cannot be fetched by sftpp://; did you mean sftp://\?"),
        ("dbfs+x://b/x.tar", r"cannot be fetched by dbfs\+x://"),
        ("gs://b/x.tar", "needs a package that is not installed: .*gcsfs"),
    ],
)
def test_what_cannot_be_fetched_is_told_before_anything_starts(
    tmp_path: Path, address: str, reason: str
) -> None:
    if address.startswith("gs") and find_spec("gcsfs"):
        pytest.skip("gcsfs is installed")
    with pytest.raises(SourceError, match=reason):
        open_source(address)
    with pytest.raises(ConfigError, match=reason):
        read_checked([str(with_data(tmp_path, address))])


def test_files_of_a_store_are_brought_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: AbstractFileSystem
) -> None:
    """Braces and patterns name several; what lies in the cache is not fetched again, what changed is."""
    monkeypatch.setenv("OFA_CACHE", str(tmp_path / "cache"))
    for number in range(3):
        store.pipe(f"/set/x{number}.csv", f"x,y\na,{number}\n".encode())
    read_checked([str(with_data(tmp_path, "memory://set/x{0..1}.csv"))])
    assert len(list((tmp_path / "cache").rglob("*.csv"))) == 2
    assert [row["y"] for row in open_source("memory://set/*.csv")] == ["0", "1", "2"]
    with monkeypatch.context() as patch:
        patch.setattr(store, "get_file", None)
        assert [row["y"] for row in open_source("memory://set/x{1..2}.csv")] == ["1", "2"]
    store.pipe("/set/x1.csv", b"x,y\na,seven\n")
    assert open_source("memory://set/x1.csv")[0]["y"] == "seven"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("memory://set/x9.csv", "memory://set/x9.csv cannot be fetched: FileNotFoundError"),
        ("memory://set/y*.csv", "nothing lies at memory://set/y"),
        ("memory://set", r"memory:///?set is a folder; name its files"),
    ],
)
def test_nothing_is_left_of_what_cannot_be_brought(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    store: AbstractFileSystem,
    address: str,
    reason: str,
) -> None:
    monkeypatch.setenv("OFA_CACHE", str(tmp_path / "cache"))
    store.pipe("/set/x0.csv", b"x,y\na,0\n")
    with pytest.raises(SourceError, match=reason):
        open_source(address)
    assert not list(tmp_path.rglob("*.csv"))


def test_a_file_that_breaks_off_is_fetched_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: AbstractFileSystem
) -> None:
    monkeypatch.setenv("OFA_CACHE", str(tmp_path / "cache"))
    store.pipe("/set/x0.csv", b"x,y\na,0\n")

    def broken(source: str, target: str) -> None:
        Path(target).write_text("x,y\na")
        raise ConnectionError("the line went dead")

    with monkeypatch.context() as patch:
        patch.setattr(store, "get_file", broken)
        with pytest.raises(SourceError, match="the line went dead; see that the address"):
            open_source("memory://set/x0.csv")
    assert open_source("memory://set/x0.csv")[0] == {"x": "a", "y": "0"}


@pytest.fixture
def store() -> Iterator[AbstractFileSystem]:
    """A store of objects: the one in memory."""
    system = filesystem("memory")
    yield system
    system.rm("/", recursive=True)


def with_data(folder: Path, address: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(
        f"tasks: {{t: {{instruction: '[TEXT:x] -> [TEXT:y]', data: {{train: '{address}'}}}}}}\n"
    )
    return path


def test_pictures_beside_the_table_are_found_in_any_spelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "set" / "images"
    folder.mkdir(parents=True)
    for name in ("a.png", unicodedata.normalize("NFD", "é.png")):
        Image.new("RGB", (16, 16), "red").save(folder / name)
    path = table(
        tmp_path / "set" / "x.csv",
        "images/a.png,1",
        "images\\a.png,2",
        "images/é.png,3",
        "images/b.png,4",
    )
    report = check_file(path, TEXT)
    assert report.checked == 4 and [bad.row_id for bad in report.bad] == [f"{path}:5"]
    reason = report.bad[0].reason
    assert (
        f"no file 'images/b.png', neither below {tmp_path} nor beside the table; did you mean a.png"
        in reason
    )
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes())
    assert check_file(path, TEXT).ok


def test_texts_that_look_like_files_stay_texts(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    path = table(tmp_path / "x.csv", "a.png,a.png")
    assert open_source(path, paths=["img"])[0] == {"img": str(tmp_path / "a.png"), "y": "a.png"}
    assert open_source(path)[0] == {"img": "a.png", "y": "a.png"}
    with pytest.raises(RowError, match=r"x.csv:2, column 'y': no file 'b.png'"):
        open_source(table(path, "a.png,b.png"), paths=["y"])[0]


@pytest.mark.parametrize(
    "text", ["no dot", "data:image/png;base64,a.b", "http://a.b", "a.b\nc", "a.b\0", "x." * 999]
)
def test_these_texts_name_no_file(text: str) -> None:
    assert not may_name_file(text) and found_file("nowhere.at.all") is None


@pytest.mark.parametrize("written", ["content", "base64"])
def test_bytes_as_python_writes_them_are_a_picture(tmp_path: Path, written: str) -> None:
    import base64
    import csv

    Image.new("RGB", (16, 16), "red").save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    cell = str(content if written == "content" else base64.b64encode(content))
    with (tmp_path / "x.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["img", "y"], [cell, "1"]])
    assert check_file(tmp_path / "x.csv", TEXT).ok


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("rows of mine.csv", True),
        ("a/part-{000..002}.tar", False),
        ("a/**/*.csv", False),
        ("s3://bucket/rows.csv", False),
    ],
)
def test_an_address_a_pattern_and_a_range_are_no_plain_paths(text: str, plain: bool) -> None:
    assert is_plain_path(text) is plain
