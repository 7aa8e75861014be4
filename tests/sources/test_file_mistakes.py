"""Files as people leave them: each mistake is named with its place and the way out, and what can be read is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ofacore.protocols import RowError
from ofacore.runs.inspection import check_file
from ofacore.sources import SourceError, open_source

TEXT = "[TEXT:a] -> [TEXT:b]"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.csv", b"a,b\rx,y\rz,w\n", "some of its lines end with a carriage return alone"),
        ("x.csv", b"PK\x03\x04\x00", "no text file"),
        ("x.json", b"", "the file is empty"),
        ("x.json", b"\xff\xfe[", "save it as UTF-8"),
        ("x.parquet", b"", "no readable Parquet file"),
        ("x.xlsx", b"PK", "save the table as CSV"),
        ("x.csv.gz", b"\x1f\x8b", "unpack it first"),
        ("x.txt", b"a\n", "set format"),
    ],
)
def test_a_file_that_cannot_be_opened_says_what_to_do(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=said) as caught:
        open_source(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"a": "café"}'.encode("latin-1"), r"x.jsonl:1: not UTF-8 .*save it as UTF-8"),
        (b'[{"a": 1},', r"x.jsonl:1: not JSON: .*set format: json"),
    ],
)
def test_a_bad_line_says_what_to_do(tmp_path: Path, line: bytes, said: str) -> None:
    (tmp_path / "x.jsonl").write_bytes(line + b'\n{"a": "fine"}\n')
    source = open_source(tmp_path / "x.jsonl")
    with pytest.raises(RowError, match=said):
        source[0]
    assert source[1] == {"a": "fine"}


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.json"])
def test_byte_order_marks_and_windows_line_ends_are_no_part_of_the_data(
    tmp_path: Path, name: str
) -> None:
    text = {
        "x.csv": "a,b\r\nx,y\r\n",
        "x.jsonl": '{"a":"x","b":"y"}\r\n',
        "x.json": '[{"a":"x","b":"y"}]\r\n',
    }[name]
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert [*map(open_source(tmp_path / name).__getitem__, range(1))] == [{"a": "x", "b": "y"}]


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    for target in ("x.csv", "gone.csv"):
        link = tmp_path / "x.csv"
        link.unlink(missing_ok=True)
        os.symlink(target, link)
        with pytest.raises(SourceError, match=f"is a link to '{target}', which leads to no file"):
            open_source(link)


def test_linked_folders_are_read_once_and_broken_links_are_not_passed_over(tmp_path: Path) -> None:
    for folder in ("data/cat", "elsewhere", "data/.hidden"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "1.png").write_bytes(b"")
    os.symlink(tmp_path / "elsewhere", tmp_path / "data" / "dog")
    os.symlink(tmp_path / "data", tmp_path / "data" / "cat" / "again")
    os.symlink("gone.png", tmp_path / "data" / "cat" / "2.png")
    source = open_source(tmp_path / "data")
    found = {
        str(Path(source[i]["file_name"]).relative_to(tmp_path / "data")) for i in range(len(source))
    }
    assert found == {"cat/1.png", "cat/2.png", "dog/1.png"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a;b\nx;y\n", "set delimiter: ';'"),
        ("a\tb\nx\ty\n", 'set delimiter: "\\\\t"'),
        (
            "hello,world\nx,y\n",
            "it has hello, world; if its first line is data, set header: false and names",
        ),
        ("a, b\nx, y\n", "did you mean ' b'"),
        ("a,b\n", "has no rows; it must hold at least one"),
    ],
)
def test_a_table_that_is_read_in_another_way_than_meant_is_told(
    tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(Exception, match=said):
        check_file(tmp_path / "x.csv", TEXT)


def test_lists_in_a_csv_file_need_a_transform(tmp_path: Path) -> None:
    from ofacore.config.task_section import DataConfig

    (tmp_path / "x.csv").write_text('a,b\n"[""x"", ""y""]","[""1"", ""2""]"\n')
    text = "([TEXT:a] is [TEXT:b])* -> [TEXT:a]"
    (bad,) = check_file(tmp_path / "x.csv", text).bad
    assert "the transform 'from_json'" in bad.reason
    given = DataConfig(transforms={"a": ("from_json",), "b": ("from_json",)})
    assert check_file(tmp_path / "x.csv", "([TEXT:a] is [TEXT:b])* ->", data=given).ok


def test_a_folder_of_folders_with_tables_names_one_of_them(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "metadata.jsonl").write_text('{"file_name": "a.png"}\n')
    (tmp_path / "train" / "a.png").write_bytes(b"")
    with pytest.raises(SourceError, match=r"metadata.jsonl describes files .*'.*/train' is a"):
        open_source(tmp_path)
    assert len(open_source(tmp_path / "train")) == 1
