"""Whatever a plugin does, it becomes a row and stops nothing."""

from __future__ import annotations

import pytest

from ofacore.plugin.first_party import COMMAND_DISTRIBUTIONS

HOSTILE = {
    "raises": ("broken", "RuntimeError: boom"),
    "exits": ("broken", "SystemExit"),
    "missing-module": ("broken", "No module named 'not_there'"),
    "missing-object": ("broken", "has no attribute 'MANIFEST'"),
    "no-manifest": ("broken", "is a dict, not a manifest"),
    "no-contract": ("broken", "contract version"),
    "other-major": ("incompatible", "pip install --upgrade ofacore"),
    "older-major": ("incompatible", "pip install --upgrade older-major"),
    "newer-minor": ("incompatible", "pip install --upgrade ofacore"),
    "wrong-group": ("broken", "announce it in group ofa.modality"),
    "bad-slot-name": ("broken", "slot type 'Lower'"),
    "bad-target": ("broken", "not 'package.module:Object'"),
    "bad-points": ("broken", "entry_points.txt cannot be read"),
    "twin-a": ("conflict", "'twin-a' and 'twin-b'"),
    "twin-b": ("conflict", "plugins.prefer.TWIN"),
    "name-a": ("conflict", "modality plugin 'same' is announced by 'name-a' and 'name-b'"),
    "name-b": ("conflict", "'name-a' and 'name-b'"),
}

WORK = """
from dataclasses import replace
from dist_base_manifest import MANIFEST as BASE
MANIFEST = replace(BASE, name="work", slots=(replace(BASE.slots[0], name="WORK"),), components=())
"""


@pytest.fixture(scope="module")
def hostile(shared_site):
    """One good plugin among all the bad ones."""
    site = shared_site
    site.install_modality("good", "GOOD", "good")
    site.install_modality("raises", "RAISES", "raises", extra="raise RuntimeError('boom')")
    site.install_modality("exits", "EXITS", "exits", extra="raise SystemExit(3)")
    site.install("missing-module", "[ofa.task]\nmissing = not_there:MANIFEST\n", {})
    site.install(
        "missing-object",
        "[ofa.modality]\nnothing = empty_manifest:MANIFEST\n",
        {"empty_manifest": ""},
    )
    site.install(
        "no-manifest",
        "[ofa.task]\nplain = dict_manifest:MANIFEST\n",
        {"dict_manifest": "MANIFEST = {}"},
    )
    site.install_modality("none", "NONE", "no-contract", contract="None")
    site.install_modality("major", "MAJOR", "other-major", contract="(CONTRACT[0] + 1, 0)")
    site.install_modality("older", "OLDER", "older-major", contract="(CONTRACT[0] - 1, 0)")
    site.install_modality(
        "minor", "MINOR", "newer-minor", contract="(CONTRACT[0], CONTRACT[1] + 1)"
    )
    site.install("wrong-group", "[ofa.task]\nmoved = good_manifest:MANIFEST\n", {})
    site.install_modality("lower", "Lower", "bad-slot-name")
    site.install_modality("wild code", "WILD", "bad-target")
    site.install("bad-points", "[ofa.modality]\nno equals sign\n", {})
    site.install_modality("twin", "TWIN", "twin-a")
    site.install_modality("twin2", "TWIN", "twin-b")
    site.install_modality("same", "ONE", "name-a")
    site.install_modality("same", "OTHER", "name-b")
    return site


@pytest.fixture(scope="module")
def rows(hostile):
    return hostile.rows()


@pytest.mark.parametrize("distribution", HOSTILE)
def test_a_bad_plugin_is_a_row_with_its_reason(rows, distribution):
    status, reason = HOSTILE[distribution]
    assert rows[distribution]["status"] == status
    assert reason in rows[distribution]["problem"]


def test_a_bad_plugin_stops_no_other(rows):
    assert (rows["good"]["status"], rows["good"]["slots"], rows["good"]["problem"]) == (
        "ok",
        ["GOOD"],
        "",
    )
    assert rows["ofacore"]["status"] == "ok"


def test_rows_are_sorted_by_name_and_distribution(hostile):
    code = "from ofacore.plugin import Registry\nfor r in Registry.discover().rows: print(r.name, r.distribution)"
    keys = [tuple(line.rsplit(" ", 1)) for line in hostile.run(code).stdout.splitlines()]
    assert keys == sorted(keys) and len(keys) > 10


def test_a_conflict_raises_when_used_and_a_setting_decides(hostile):
    code = """
from ofacore.plugin import ConflictError, Registry
registry = Registry.discover()
try:
    registry.slot("TWIN")
except ConflictError as error:
    assert error.owners == ("twin-a", "twin-b"), error
else:
    raise AssertionError("no conflict")
assert "TWIN" not in registry.slots() and registry.slot("GOOD").name == "GOOD"
decided = Registry.discover({"TWIN": "twin-b"})
assert decided.owner("slot", "TWIN") == "twin-b" and decided.slot("TWIN").preprocessor == "twin2"
assert {row.status for row in decided.rows if row.distribution.startswith("twin")} == {"ok"}
one = Registry.discover({"same": "name-a"})
assert [row.status for row in one.rows if row.name == "same"] == ["ok", "disabled"]
"""
    hostile.run(code)


def test_strict_raises_and_names_every_bad_plugin(hostile):
    done = hostile.run(
        "from ofacore.plugin import Registry; Registry.discover()", False, OFA_STRICT_PLUGINS="1"
    )
    assert done.returncode == 1 and "PluginError" in done.stderr
    assert all(f"({distribution})" in done.stderr for distribution in HOSTILE)


def test_interrupting_is_not_swallowed(site):
    site.install_modality("stop", "STOP", extra="raise KeyboardInterrupt")
    done = site.run("from ofacore.plugin import Registry; Registry.discover()", check=False)
    assert "KeyboardInterrupt" in done.stderr and done.returncode != 0


def test_what_a_plugin_prints_does_not_reach_standard_output(site):
    site.install_modality("loud", "LOUD", extra="print('noise')")
    assert site.rows()["dist-loud"]["status"] == "ok"


def test_the_allow_list_disables_the_others_but_never_the_core(site):
    site.install_modality("one", "ONE")
    site.install_modality("two", "TWO", extra="raise RuntimeError('imported though disabled')")
    rows = site.rows(OFA_PLUGINS="one")
    assert rows["dist-one"]["status"] == rows["ofacore"]["status"] == "ok"
    assert (rows["dist-two"]["status"], rows["dist-two"]["problem"]) == (
        "disabled",
        "not listed in OFA_PLUGINS",
    )
    assert site.rows(OFA_PLUGINS="dist-one")["dist-one"]["status"] == "ok"
    rows = site.rows(OFA_PLUGINS="")
    assert {name for name, row in rows.items() if row["status"] == "ok"} <= {
        "ofacore",
        *COMMAND_DISTRIBUTIONS.values(),
    }
    assert rows["dist-one"]["status"] == rows["ofa-modality-text"]["status"] == "disabled"


def test_a_misspelt_allow_list_is_told(site):
    site.install_modality("brightness", "ONE")
    done = site.run(
        "from ofacore.plugin import Registry; Registry.discover()", False, OFA_PLUGINS="brightnes"
    )
    assert "OFA_PLUGINS" in done.stderr and "did you mean 'brightness'?" in done.stderr


def test_uninstalled_work_is_found_by_its_variable(site):
    site.install_modality("base", "BASE")
    site.write("work", WORK)
    rows = site.rows(OFA_PLUGIN_DEV="work=work:MANIFEST,base=dist_base_manifest:MANIFEST")
    assert rows["dev:work"]["slots"] == ["WORK"] and rows["dev:work"]["kind"] == "modality"
    assert "dev:base" not in rows, "what is installed already is not found twice"
    done = site.run(
        "from ofacore.plugin import Registry; Registry.discover()", False, OFA_PLUGIN_DEV="work"
    )
    assert "name=package.module:MANIFEST" in done.stderr


def test_the_same_distribution_twice_on_the_path_is_one(site):
    site.install_modality("once", "ONCE")
    assert (
        site.rows(PYTHONPATH=f"{site.folder}:{site.folder}/../site")["dist-once"]["status"] == "ok"
    )
