"""Wheels alone give a working system, and each adds what it brings and nothing else."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.xdist_group("wheels")

MOTION_TO_MOTION = """
from ofacore import Generalist, Task
from ofacore.plugin import Registry

registry = Registry.discover()
motion = registry.resolve(registry.slot("MOTION").sample)
rows = [{"a": motion(), "b": motion()} for _ in range(4)]
model = Generalist.create([Task("mirror", "[MOTION:a] -> [MOTION:b]", train=rows)], preset="tiny")
model.fit(steps=2)
assert not any(row.name == "text" for row in registry.rows)
print("trained")
"""


@pytest.fixture(scope="module")
def text_only(layer, wheels):
    environment = layer("text")
    environment.install(wheels("core", "modality_text"))
    return environment


def test_an_empty_layer_holds_nothing_of_ours(layer):
    code = "import importlib.util as u, torch; print([n for n in ('ofacore', 'ofa_cli') if u.find_spec(n)])"
    assert layer("empty").run("python", "-c", code) == "[]\n"


def test_core_and_text_know_text_only_and_motion_adds_motion_only(text_only, wheels):
    before = text_only.plugins()
    assert {name: (row["status"], row["slots"]) for name, row in before.items()} == {
        "ofacore": ("ok", []),
        "ofa-modality-text": ("ok", ["TEXT", "CATEGORY", "PROMPT"]),
    }
    assert "[TEXT:b]" in text_only.run("ofa", "explain", "[TEXT:a] -> [TEXT:b]")
    text_only.install(wheels("modality_motion"))
    after = text_only.plugins()
    added = after.pop("ofa-modality-motion")
    assert (added["status"], added["slots"], added["problem"]) == ("ok", ["MOTION"], "")
    assert after == before
    assert text_only.unmet() == []


def test_a_missing_dependency_is_noticed(layer, wheels):
    environment = layer("box")
    environment.install(wheels("core", "modality_box"))
    assert any("ofa-modality-image" in line for line in environment.unmet())


def test_every_room_and_data_file_is_in_the_wheel(wheels):
    from pathlib import Path
    from zipfile import ZipFile

    root = Path(__file__).parents[2]
    (wheel,) = wheels("core")
    packed = set(ZipFile(wheel).namelist())
    suffixes = {".py", ".css", ".html", ".js", ".json", ".txt", ".typed", ".yaml"}
    for folder in (root / "ofacore", root / "cli" / "ofa_cli"):
        for file in folder.rglob("*"):
            if file.suffix in suffixes or file.name == "py.typed":
                assert file.relative_to(folder.parent).as_posix() in packed


@pytest.mark.slow
def test_core_and_motion_train_without_text(layer, wheels):
    environment = layer("motion")
    environment.install(wheels("core", "modality_motion"))
    assert environment.run("python", "-c", MOTION_TO_MOTION).splitlines()[-1] == "trained"
