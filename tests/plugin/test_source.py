"""Objects are found in source files that nobody runs."""

from __future__ import annotations

import sys

import pytest

from ofa_kit.checks.lightness import foreign_imports
from ofacore.plugin.source import NotFoundError, locate, module_file

CODE = """
raise RuntimeError("executed")
from typing import TYPE_CHECKING
from .other import Moved as Here
if TYPE_CHECKING:
    from somewhere import Typed
class Outer:
    class Inner:
        pass
    def method(self): ...
try:
    import json
except ImportError:
    json = None
first, second = 1, 2
def late():
    import heavy
"""


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    folder = tmp_path / "sourced"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('executed')\n")
    (folder / "code.py").write_text(CODE)
    (folder / "other.py").write_text("import numpy\nclass Moved:\n    pass\n")
    (folder / "open.py").write_text("def __getattr__(name): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


LINES = {
    "Outer": 7,
    "Outer.Inner": 8,
    "Outer.method": 10,
    "json": 14,
    "second": 15,
    "late": 16,
    "Typed": 6,
}


@pytest.mark.parametrize("name", sorted(set(LINES) - {"Typed"}))
def test_an_object_is_found_by_its_line(package, name):
    assert str(locate(f"sourced.code:{name}")) == f"{package / 'code.py'}:{LINES[name]}"
    assert "sourced" not in sys.modules


def test_a_name_that_is_passed_on_is_found_where_it_is_defined(package):
    assert str(locate("sourced.code:Here")) == f"{package / 'other.py'}:2"


def test_a_module_that_makes_its_names_itself_is_believed(package):
    assert str(locate("sourced.open:Anything")) == str(package / "open.py")


@pytest.mark.parametrize(
    ("target", "told"),
    {
        "sourced.code:Nothing": "'sourced.code' has no 'Nothing'",
        "sourced.code:Outer.nothing": "'sourced.code:Outer' has no 'nothing'",
        "sourced.nowhere:Thing": "there is no module 'sourced.nowhere'",
        "nowhere_at_all:Thing": "there is no module 'nowhere_at_all'",
    }.items(),
)
def test_what_is_missing_is_named(target, told):
    with pytest.raises(NotFoundError, match=told):
        locate(target)


def test_imports_of_the_whole_package_are_seen_and_late_ones_are_not(package):
    found = foreign_imports("sourced.code")
    assert {"numpy": str(package / "other.py") + ":1"} == {
        name: str(place) for name, place in found.items()
    }
    assert module_file("sourced.code") == str(package / "code.py")


def test_a_part_is_as_light_as_the_room_it_lives_in(tmp_path, monkeypatch):
    lines = [
        "from ofacore.parts import grid_modality",
        "from ofacore.parts import TokensPreprocessor",
    ]
    (tmp_path / "parts_user.py").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = foreign_imports("parts_user")
    assert {name: place.line for name, place in found.items()} == {
        "ofacore.components.grids.modality": 1,
        "ofacore.components.tokens.named_tokens": 2,
    }
