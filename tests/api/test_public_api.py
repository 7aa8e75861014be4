"""The public API is the one that was agreed on, and a change that breaks plugins does not pass unnoticed."""

from __future__ import annotations

import ast
import copy
import importlib
import re
import warnings
from pathlib import Path

import pytest

from ofacore import __version__
from ofacore.plugin import deprecated
from tests.api.changes import compare
from tests.api.surface import MODULES, ROOT, kept, message, surface


@pytest.fixture(scope="module")
def found():
    return surface()


def test_the_public_api_is_the_one_that_is_kept(found):
    old = kept()
    told = message(
        compare(old["modules"], found["modules"]), tuple(old["contract"]), tuple(found["contract"])
    )
    assert not told, told


@pytest.mark.parametrize("module", MODULES)
def test_what_is_exported_is_there_and_described(found, module):
    loaded = importlib.import_module(module)
    assert set(found["modules"][module]) == set(loaded.__all__)
    assert all(hasattr(loaded, name) for name in loaded.__all__)


def _schedule(api):
    return api["ofacore.protocols"]["Schedule"]


def _load(api):
    return api["ofacore.plugin"]["Registry"]["members"]["load"]


def _rename(api):
    api["ofacore.parts"]["Branch"] = api["ofacore.parts"].pop("Trie")


def _remove_method(api):
    del _schedule(api)["members"]["counts"]


def _rename_parameter(api):
    _load(api)["parameters"][1]["name"] = "called"


def _require_parameter(api):
    _load(api)["parameters"].append(
        {"name": "x", "kind": "keyword-only", "type": "int", "default": False}
    )


def _swap_parameters(api):
    _load(api)["parameters"].reverse()


def _change_type(api):
    _load(api)["parameters"][0]["type"] = "int"


def _widen_in_a_protocol(api):
    counts = _schedule(api)["members"]["counts"]
    counts["parameters"][-1]["type"] = "int | str"


def _change_return(api):
    _load(api)["returns"] = "str"


def _extend_protocol(api):
    _schedule(api)["members"]["finish"] = {"kind": "function", "parameters": [], "returns": "None"}


def _extend_dataclass(api):
    new = {"name": "x", "kind": "positional or keyword", "type": "int", "default": False}
    api["ofacore.plugin"]["Attribute"]["members"]["__init__"]["parameters"].append(new)


BREAKING = {
    _rename: "ofacore.parts.Trie is gone",
    _remove_method: "Schedule.counts is gone",
    _rename_parameter: "Registry.load takes no 'name' any more",
    _require_parameter: "Registry.load takes 'x'",
    _swap_parameters: "another order: name, kind",
    _change_type: "Registry.load(kind) was str and is int",
    _widen_in_a_protocol: "Schedule.counts(step) was int and is int | str",
    _change_return: "Registry.load returned Any and returns str",
    _extend_protocol: "Schedule.finish is new",
    _extend_dataclass: "Attribute.__init__ takes 'x'",
}


@pytest.mark.parametrize("change", BREAKING)
def test_a_change_that_breaks_plugins_names_itself_and_the_contract(found, change):
    new = copy.deepcopy(found["modules"])
    change(new)
    changes = compare(found["modules"], new)
    told = message(changes, (1, 3), (1, 3))
    assert any(entry.breaking for entry in changes) and BREAKING[change] in told
    assert "raise CONTRACT in ofacore/plugin/manifest.py to (2, 0)" in told
    assert "raise CONTRACT" not in message(changes, (1, 3), (2, 0))


def test_an_addition_breaks_nothing_but_is_told(found):
    new = copy.deepcopy(found["modules"])
    new["ofacore.parts"]["Fresh"] = {"kind": "class", "bases": [], "members": {}}
    _load(new)["parameters"].append(
        {"name": "x", "kind": "keyword-only", "type": "int", "default": True}
    )
    _load(new)["parameters"][0]["type"] = "str | None"
    told = message(compare(found["modules"], new), (1, 3), (1, 3))
    assert "addition: ofacore.plugin.Registry.load(kind) was str and is str | None" in told
    assert (
        "addition: ofacore.parts.Fresh is new" in told and "make api" in told and "(1, 4)" in told
    )
    assert "breaking" not in told
    assert message([], (1, 3), (1, 3)) == ""


def test_a_deprecated_name_warns_where_it_is_used():
    @deprecated("use new", since="1.2", removed_in="2.0")
    def old() -> int:
        return 1

    with pytest.warns(
        DeprecationWarning, match="deprecated since 1.2, removed in 2.0: use new"
    ) as caught:
        assert old() == 1
    assert caught[0].filename == __file__


def test_a_deprecated_class_warns_when_it_is_made():
    @deprecated("use New", since="1.2", removed_in="2.0")
    class Old:
        pass

    with pytest.warns(DeprecationWarning, match="use New"):
        Old()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Old.__deprecated__


def _marks(folder: Path):
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "deprecated"
            ):
                yield file, {word.arg: ast.literal_eval(word.value) for word in node.keywords}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def test_what_was_to_be_removed_is_removed():
    late = [
        file
        for file, words in _marks(ROOT / "ofacore")
        if _numbers(words["removed_in"]) <= _numbers(__version__)
    ]
    assert late == []
