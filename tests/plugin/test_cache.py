"""Listing plugins imports them once; a cache that is wrong in any way is as good as none."""

from __future__ import annotations

import json
import os

import pytest

IMPORTED = "import sys; print('imported', file=sys.stderr)"
DISCOVER = "from ofacore.plugin import Registry; r = Registry.discover()"


@pytest.fixture
def seen(site):
    """A plugin that says when it is imported, discovered once."""
    site.install_modality("seen", "SEEN", extra=IMPORTED)
    assert "imported" in site.run(DISCOVER).stderr
    return site


def _cache_file(site):
    (file,) = (site.cache / "plugins").glob("*.json")
    return file


def test_a_known_plugin_is_not_imported_and_its_row_is_the_same(seen):
    first = seen.rows(OFA_CACHE=str(seen.cache / "other"))
    assert "imported" not in seen.run(DISCOVER).stderr
    assert seen.rows() == first


def test_it_is_imported_when_something_of_it_is_needed(seen):
    code = f"{DISCOVER}; import sys; assert 'dist_seen_manifest' not in sys.modules; print(r.slot('SEEN').values)"
    done = seen.run(code)
    assert "imported" in done.stderr and done.stdout == "strings\n"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"format": 1, "entries": []}', "[" * 100_000, '"\\ud800"']
)
def test_a_corrupt_cache_is_ignored_and_rewritten(seen, content):
    file = _cache_file(seen)
    file.write_text(content)
    assert seen.rows()["dist-seen"]["slots"] == ["SEEN"]
    assert json.loads(file.read_text())["entries"]
    assert [path.name for path in file.parent.iterdir()] == [file.name], (
        "no scratch file stays behind"
    )


DAMAGES = [
    None,
    3,
    {},
    {"files": {}},
    {"files": None},
    {"offer": 1},
    {"kind": []},
    {"contract": "x"},
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_corrupt_entry_is_as_good_as_none(seen, damage):
    file = _cache_file(seen)
    content = json.loads(file.read_text())
    for key, entry in content["entries"].items():
        content["entries"][key] = {**entry, **damage} if isinstance(damage, dict) else damage
    file.write_text(json.dumps(content))
    row = seen.rows()["dist-seen"]
    assert (row["slots"], row["contract"], row["status"]) == (["SEEN"], "2.0", "ok")


def test_a_changed_file_is_read_again(seen):
    manifest = seen.folder / "dist_seen_manifest.py"
    manifest.write_text(manifest.read_text().replace('"SEEN"', '"CHANGED"'))
    assert seen.rows()["dist-seen"]["slots"] == ["CHANGED"]


def test_a_changed_file_that_the_manifest_imports_is_read_again(site):
    package = site.folder / "parcel"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "names.py").write_text("SLOT = 'BEFORE'")
    site.install_modality("parcel", "X")
    code = (site.folder / "dist_parcel_manifest.py").read_text()
    (package / "manifest.py").write_text(
        "from parcel.names import SLOT\n" + code.replace('"X"', "SLOT")
    )
    site.install("parcel", "[ofa.modality]\nparcel2 = parcel.manifest:MANIFEST\n", {})
    assert site.rows()["parcel"]["slots"] == ["BEFORE"]
    (package / "names.py").write_text("SLOT = 'AFTERWARDS'")
    assert site.rows()["parcel"]["slots"] == ["AFTERWARDS"]


def test_another_version_is_read_again(seen):
    (seen.folder / "dist_seen-1.0.dist-info").rename(seen.folder / "dist_seen-2.0.dist-info")
    metadata = seen.folder / "dist_seen-2.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 2.0"))
    assert "imported" in seen.run(DISCOVER).stderr


def test_an_uninstalled_plugin_leaves_the_cache(seen):
    (seen.folder / "dist_seen-1.0.dist-info" / "entry_points.txt").unlink()
    assert "dist-seen" not in seen.rows()
    assert "dist-seen" not in _cache_file(seen).read_text()


def test_a_plugin_that_broke_since_is_a_row_when_it_is_needed(site):
    site.write("needed", "")
    site.install_modality("seen", "SEEN", extra="import needed")
    assert site.rows()["dist-seen"]["status"] == "ok"
    os.unlink(site.folder / "needed.py")
    code = f"""{DISCOVER}
from ofacore.plugin import LoadError
assert "SEEN" in r.names("slot") and "SEEN" not in r.slots()
assert next(row.status for row in r.rows if row.name == "seen") == "broken"
"""
    site.run(code)
    done = site.run(f"{DISCOVER}; r.slot('SEEN')", check=False)
    assert "LoadError" in done.stderr and "'seen'" in done.stderr and "dist-seen" in done.stderr


def test_a_folder_that_cannot_be_written_is_no_problem(seen, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert seen.rows(OFA_CACHE=str(blocked))["dist-seen"]["status"] == "ok"
