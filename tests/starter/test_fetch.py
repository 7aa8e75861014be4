"""Fetching: real pip, real archives, no network."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from ofa_starter import FetchError, PackageSource, fetch, is_fetched
from ofacore.ground.folders import cache_root

WORDS = "tinydata/data/*.txt"
FILES = {
    "tinydata/data/words.txt": "alpha\nbeta\n",
    "tinydata/data/deep/more.txt": "gamma\n",
    "tinydata/code.py": "raise RuntimeError('never run')\n",
}


def wheel(folder: Path, files: dict[str, str] = FILES) -> Path:
    """A wheel ``tinydata 1.0`` with ``files``."""
    folder.mkdir(parents=True, exist_ok=True)
    info = "tinydata-1.0.dist-info"
    meta = {
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tinydata\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    path = folder / "tinydata-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as container:
        for name, text in {**files, **meta}.items():
            container.writestr(name, text)
    return path


def source(archive: Path, *members: str) -> PackageSource:
    """The source that describes an archive truthfully."""
    return PackageSource(
        "tinydata", "1.0", hashlib.sha256(archive.read_bytes()).hexdigest(), members
    )


@pytest.fixture(autouse=True)
def index(tmp_path, monkeypatch):
    """A folder that is pip's only index."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def downloaded(wanted: PackageSource, archive: Path, cache: Path) -> Path:
    """Put an archive where an interrupted run would have left it: its folder."""
    left = cache / "downloads" / wanted.folder
    left.mkdir(parents=True)
    archive.rename(left / archive.name)
    return left


def test_only_the_wanted_members_arrive(index, tmp_path):
    folder = fetch(source(wheel(index), WORDS), tmp_path / "cache")
    found = sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*.*") if path.name != ".complete"
    )
    assert found == ["tinydata/data/deep/more.txt", "tinydata/data/words.txt"]
    assert (folder / "tinydata/data/words.txt").read_text() == "alpha\nbeta\n"


def test_once_fetched_it_needs_no_index(index, tmp_path):
    archive = wheel(index)
    wanted = source(archive, WORDS)
    downloaded(wanted, archive, tmp_path / "cache")
    assert not is_fetched(wanted, tmp_path / "cache")
    first = fetch(wanted, tmp_path / "cache")
    assert is_fetched(wanted, tmp_path / "cache")
    assert fetch(wanted, tmp_path / "cache") == first


def test_another_digest_is_refused_by_name_and_nothing_is_kept(index, tmp_path):
    wanted = dataclasses.replace(source(wheel(index), WORDS), sha256="0" * 64)
    with pytest.raises(FetchError) as caught:
        fetch(wanted, tmp_path / "cache")
    message = str(caught.value)
    assert "tinydata 1.0" in message and "0" * 64 in message and caught.value.found in message
    assert str(tmp_path / "cache") in message
    assert not list((tmp_path / "cache").rglob("*.txt")) and not list(
        (tmp_path / "cache").rglob("*.whl")
    )


def test_a_package_that_is_not_there_names_the_way_out(tmp_path):
    with pytest.raises(FetchError, match=r"no-such-package 3\.0.*pip config list"):
        fetch(PackageSource("no-such-package", "3.0", "0" * 64, ("*",)), tmp_path / "cache")


def test_a_complete_archive_of_an_interrupted_run_is_used(index, tmp_path):
    archive = wheel(index)
    wanted = source(archive, WORDS)
    left = downloaded(wanted, archive, tmp_path / "cache")
    assert (fetch(wanted, tmp_path / "cache") / "tinydata/data/words.txt").is_file()
    assert not left.exists()


def test_a_damaged_archive_of_an_interrupted_run_is_replaced(index, tmp_path):
    archive = wheel(index)
    wanted = source(archive, WORDS)
    left = tmp_path / "cache" / "downloads" / wanted.folder
    left.mkdir(parents=True)
    (left / archive.name).write_bytes(archive.read_bytes()[:100])
    assert (fetch(wanted, tmp_path / "cache") / "tinydata/data/words.txt").is_file()


def test_a_folder_without_its_marker_is_made_again(index, tmp_path):
    archive = wheel(index)
    wanted = source(archive, WORDS)
    downloaded(wanted, archive, tmp_path / "cache")
    half = tmp_path / "cache" / "sources" / wanted.folder
    half.mkdir(parents=True)
    (half / "rubbish").touch()
    assert not (fetch(wanted, tmp_path / "cache") / "rubbish").exists()


@pytest.mark.parametrize("content", [None, "", "alp"])
def test_a_folder_that_is_not_whole_is_made_again(index, tmp_path, content):
    archive = wheel(index)
    folder = fetch(source(archive, WORDS), tmp_path / "cache")
    words = folder / "tinydata/data/words.txt"
    if content is None:
        words.unlink()
    else:
        words.write_text(content)
    assert not is_fetched(source(archive, WORDS), tmp_path / "cache")
    fetch(source(archive, WORDS), tmp_path / "cache")
    assert words.read_text() == FILES["tinydata/data/words.txt"]


@pytest.mark.parametrize(
    "name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "c:/evil.txt", "a\\..\\evil.txt"]
)
def test_a_member_cannot_leave_the_cache(index, tmp_path, name):
    archive = wheel(index, {name: "evil", "tinydata/data/words.txt": "x"})
    wanted = source(archive, "*")
    downloaded(wanted, archive, tmp_path / "cache")
    with pytest.raises(FetchError, match="unsafe member path"):
        fetch(wanted, tmp_path / "cache")
    assert not list(tmp_path.rglob("evil.txt"))


def test_links_in_a_source_archive_are_not_followed(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    archive = tmp_path / "tinydata-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        link = tarfile.TarInfo("tinydata-1.0/link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        tar.addfile(link)
        real = tarfile.TarInfo("tinydata-1.0/words.txt")
        real.size = 5
        tar.addfile(real, io.BytesIO(b"alpha"))
    wanted = dataclasses.replace(source(archive, "*.txt"), kind="sdist")
    downloaded(wanted, archive, tmp_path / "cache")
    folder = fetch(wanted, tmp_path / "cache")
    assert [path.name for path in folder.rglob("*.txt")] == ["words.txt"]


def test_a_missing_member_is_an_error(index, tmp_path):
    archive = wheel(index)
    wanted = source(archive, WORDS, "tinydata/*.csv")
    downloaded(wanted, archive, tmp_path / "cache")
    with pytest.raises(FetchError, match=r"no member 'tinydata/\*\.csv'"):
        fetch(wanted, tmp_path / "cache")


def test_the_cache_is_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("OFA_CACHE", str(tmp_path / "here"))
    assert cache_root() == tmp_path / "here"
    monkeypatch.delenv("OFA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "ofacore"
