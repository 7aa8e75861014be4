"""Shards: which members form a row, and what a member becomes."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from ofacore.protocols import RowError
from ofacore.runs.inspection import check_file
from ofacore.sources import SourceError, notes_of, open_source


def shard(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_a_member_that_occurs_twice_makes_its_row_bad(tmp_path: Path) -> None:
    source = open_source(
        shard(tmp_path / "x.tar", ("0.txt", b"a"), ("0.TXT", b"b"), ("1.txt", b"c"))
    )
    with pytest.raises(RowError, match=r"x.tar:0: the member '0.txt' occurs twice"):
        source[0]
    assert source[1]["txt"] == "c"


def test_members_of_a_sample_must_be_adjacent(tmp_path: Path) -> None:
    path = shard(tmp_path / "x.tar", ("0.png", b""), ("1.png", b""), ("0.txt", b""), ("1.txt", b""))
    with pytest.raises(
        SourceError,
        match="members of the key '0' lie apart: .* adjacent, .* first dot .*--sort=name",
    ):
        open_source(path)


def test_a_key_ends_at_the_first_dot_and_that_is_said(tmp_path: Path) -> None:
    source = open_source(shard(tmp_path / "x.tar", ("v1.0.png", b""), ("v1.0.txt", b"a")))
    assert source.columns == ("__key__", "0.png", "0.txt")
    assert (
        "the key of a member ends at the first dot of its name, so there is a column '0.png'"
        in notes_of(source)[0]
    )
    assert notes_of(open_source(shard(tmp_path / "y.tar", ("1.seg.png", b"")))) == ()


def test_what_members_become(tmp_path: Path) -> None:
    array = np.arange(6).reshape(3, 2)
    bundle = io.BytesIO()
    np.savez(bundle, frames=array)
    arrays = (("0.npy", saved(array)), ("0.npz", bundle.getvalue()))
    others = (("0.txt", b"\xef\xbb\xbfred\r\n"), ("0.bin", b"\0"))
    row = open_source(shard(tmp_path / "x.tar", *arrays, *others))[0]
    assert (row["npy"] == array).all() and (row["npz"]["frames"] == array).all()
    assert (row["txt"], row["bin"]) == ("red", b"\0")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("npy", b""),
        ("npy", saved(np.array([{}], dtype=object))),
        ("npz", b"PK"),
        ("json", b"["),
        ("txt", b"\xff"),
    ],
)
def test_a_member_that_cannot_be_read_is_one_bad_row(
    tmp_path: Path, name: str, content: bytes
) -> None:
    source = open_source(shard(tmp_path / "x.tar", (f"0.{name}", content), ("1.txt", b"fine")))
    with pytest.raises(RowError, match=f"x.tar:0, member '{name}': "):
        source[0]
    assert source[1]["txt"] == "fine"


def test_members_that_are_no_samples(tmp_path: Path) -> None:
    path = shard(
        tmp_path / "x.tar",
        ("t/._0.png", b""),
        ("t/.DS_Store", b""),
        ("README", b""),
        ("t/0.png", b"x"),
    )
    assert len(open_source(path)) == 1 and open_source(path)[0] == {"__key__": "t/0", "png": b"x"}
    with pytest.raises(SourceError, match="none of its 2 members is named 'key.ext'"):
        open_source(shard(tmp_path / "y.tar", ("0", b""), ("1", b"")))
    (tmp_path / "empty.tar").touch()
    with pytest.raises(SourceError, match="it is cut off, fetch it again"):
        open_source(tmp_path / "empty.tar")


def test_links_among_members_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        member = tarfile.TarInfo("0.txt")
        member.type, member.linkname = tarfile.SYMTYPE, "elsewhere"
        archive.addfile(member)
    with pytest.raises(SourceError, match="the member '0.txt' is a link; .*--dereference"):
        open_source(tmp_path / "x.tar")


def test_arrays_and_json_of_a_shard_reach_their_slots(tmp_path: Path) -> None:
    from ofacore.config.task_section import DataConfig

    members = [
        member
        for number in range(3)
        for member in (
            (f"{number}.npy", saved(np.random.default_rng(number).normal(size=(16, 4)))),
            (f"{number}.json", b'{"caption": "it walks"}'),
        )
    ]
    path = shard(tmp_path / "x.tar", *members)
    columns = {"clip": "npy", "cap": "json.caption"}
    report = check_file(path, "[MOTION:clip] -> [TEXT:cap]", data=DataConfig(columns=columns))
    assert report.ok and "it walks" in report.text
    (bad, *_) = check_file(path, "[TEXT:clip] -> [TEXT:cap]", data=DataConfig(columns=columns)).bad
    assert len(bad.reason) < 300


def test_a_key_with_words_and_dots_is_said_too(tmp_path: Path) -> None:
    source = open_source(
        shard(
            tmp_path / "x.tar", ("7 Track 2.0 (Clean).mp3", b""), ("7 Track 2.0 (Clean).txt", b"")
        )
    )
    assert "so there is a column '0 (clean).mp3'; name members 'key.ext'" in notes_of(source)[0]
    for usual in ("0.wav.label", "0.left-eye.png", "0.input.jpg"):
        assert notes_of(open_source(shard(tmp_path / "y.tar", (usual, b"")))) == ()


def test_archives_one_behind_the_other_are_refused(tmp_path: Path) -> None:
    parts = [shard(tmp_path / f"{n}.tar", (f"{n}.txt", b"a")) for n in range(2)]
    (tmp_path / "x.tar").write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(
        SourceError, match=r"x.tar: another archive follows the first one.*tar --concatenate"
    ):
        open_source(tmp_path / "x.tar")
    assert len(open_source(parts)) == 2


def test_a_shard_that_was_not_closed_is_told(tmp_path: Path) -> None:
    whole = shard(tmp_path / "x.tar", ("0.txt", b"a"), ("1.txt", b"b"))
    assert notes_of(open_source(whole)) == ()
    (tmp_path / "y.tar").write_bytes(whole.read_bytes()[:1024])
    source = open_source(tmp_path / "y.tar")
    assert len(source) == 1
    assert (
        "has no end; if it was not closed, or is cut off, its last rows are missing"
        in notes_of(source)[0]
    )


@pytest.mark.parametrize("kind", ["gnu", "pax"])
def test_a_member_without_its_holes_is_refused(tmp_path: Path, kind: str) -> None:
    import shutil
    import subprocess

    version = ["tar", "--version"]
    if (
        shutil.which("tar") is None
        or "GNU" not in subprocess.run(version, capture_output=True, text=True).stdout
    ):
        pytest.skip("needs GNU tar")
    with (tmp_path / "0.bin").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
    command = [
        "tar",
        "--sparse",
        f"--format={kind}",
        "-cf",
        str(tmp_path / "x.tar"),
        "-C",
        str(tmp_path),
        "0.bin",
    ]
    subprocess.run(command, check=True)
    with pytest.raises(
        SourceError, match="the member '0.bin' is stored without its holes; .* --sparse"
    ):
        open_source(tmp_path / "x.tar")


def test_compressed_members_and_numbers_of_classes_are_read(tmp_path: Path) -> None:
    import gzip

    packed = (("0.json.gz", gzip.compress(b'{"a": 1}')), ("0.txt.gz", gzip.compress(b"red\n")))
    others = (("0.nii.gz", b"\0"), ("0.index", b"3\n"), ("1.json.gz", b"x"))
    source = open_source(shard(tmp_path / "x.tar", *packed, *others))
    assert source[0] == {
        "__key__": "0",
        "json.gz": {"a": 1},
        "txt.gz": "red",
        "nii.gz": b"\0",
        "index": "3",
    }
    with pytest.raises(RowError, match="x.tar:1, member 'json.gz': Not a gzipped file"):
        source[1]


def test_pickled_members_are_told_with_a_way_out(tmp_path: Path) -> None:
    path = shard(tmp_path / "x.tar", ("0.input.pyd", b"\x80\x04K\x01."), ("0.txt", b"a"))
    (note,) = check_file(path, "[TEXT:txt] -> [TEXT:txt]").notes
    assert (
        "column 'input.pyd' is pickled Python, which may run code and is not read; write it as .npy"
        in note
    )
