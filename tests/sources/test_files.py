"""Which files a text names, and which files the values of a table name."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from ofacore.config import ConfigError
from ofacore.ground.patterns import alternatives, is_remote, named_files
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
    "address", ["https://a.org/x.csv", "s3://b/x.tar", "hf://datasets/a/b", "pipe:curl x"]
)
def test_what_lies_elsewhere_must_be_downloaded(tmp_path: Path, address: str) -> None:
    assert is_remote(address)
    with pytest.raises(SourceError, match="is remote: download it and give its path"):
        open_source(address)
    (tmp_path / "run.yaml").write_text(
        f"tasks: {{t: {{instruction: '[TEXT:a] -> [TEXT:b]', data: {{train: '{address}'}}}}}}\n"
    )
    with pytest.raises(ConfigError, match="is remote; download it"):
        read_checked([str(tmp_path / "run.yaml")])


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
