"""The public API as data: read from the sources, kept in ``surface.json``, compared with what is kept.

``python -m tests.api.surface check`` tells what differs; ``... refresh`` writes the file anew (``make api``). A change
that breaks plugins is refused until the contract's major number is raised.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import griffe

from ofacore.plugin import CONTRACT
from tests.api.changes import Change, compare

ROOT = Path(__file__).parents[2]
SNAPSHOT = Path(__file__).with_name("surface.json")
TOOLS = ("kit", "starter")
"""Tools that plugins import."""
PACKAGES = ("ofacore", *(f"ofa_{tool}" for tool in TOOLS))
MODULES = (*PACKAGES, "ofacore.parts", "ofacore.plugin", "ofacore.protocols")
FIXTURES = "ofa_kit.pytest_plugin"
CALLED = ("__call__", "__init__")
"""Methods of two underscores that are part of the API."""

Described = dict[str, Any]


def surface(root: Path = ROOT) -> Described:
    """Contract and exported names of every public module, by name."""
    paths = [root, *(root / "plugins" / f"tool_{tool}" for tool in TOOLS)]
    loader = griffe.GriffeLoader(search_paths=paths, allow_inspection=False)
    for package in PACKAGES:
        loader.load(package)
    found = {module: _exports(loader.modules_collection, module) for module in MODULES}
    fixtures = _fixtures(loader.modules_collection[FIXTURES])
    found["fixtures"] = {name: _described(value) for name, value in fixtures.items()}
    return {"contract": list(CONTRACT), "modules": found}


def kept() -> Described:
    """The snapshot."""
    content: Described = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    return content


def message(changes: list[Change], old: tuple[int, int], new: tuple[int, int]) -> str:
    """What changed, and what to do; empty if nothing did."""
    breaking = [change for change in changes if change.breaking]
    lines = [f"  {change}" for change in changes]
    if breaking and new[0] <= old[0]:
        way = f"{len(breaking)} break plugins written for contract {old[0]}.{old[1]}: restore what was there and "
        way += "mark it with ofacore.plugin.deprecated, or raise CONTRACT in ofacore/plugin/manifest.py to "
        way += f"({old[0] + 1}, 0) and run 'make api'"
    elif changes:
        way = f"no plugin breaks; run 'make api'; with the next release CONTRACT becomes ({old[0]}, {old[1] + 1})"
    else:
        return ""
    return "\n".join(["the public API is not what tests/api/surface.json says:", *lines, way])


def main(action: str, *flags: str) -> int:
    """``check`` or ``refresh``; with ``--unreleased`` a contract that nobody has used yet may still change."""
    found = surface()
    old = kept() if SNAPSHOT.exists() else {"contract": [0, 0], "modules": {}}
    told = message(
        compare(old["modules"], found["modules"]), (*old["contract"],), (*found["contract"],)
    )
    refused = "raise CONTRACT" in told and "--unreleased" not in flags
    if told:
        print(told)
    if action == "refresh" and not refused:
        SNAPSHOT.write_text(_written(found), encoding="utf-8")
        print(f"written: {SNAPSHOT.relative_to(ROOT)}")
        return 0
    return 1 if told else 0


def _written(found: Described) -> str:
    """JSON with one line for each exported name, so that a difference shows what changed."""
    modules = []
    for module, names in sorted(found["modules"].items()):
        lines = (
            f"  {json.dumps(name)}: {json.dumps(names[name], sort_keys=True)}"
            for name in sorted(names)
        )
        modules.append(f" {json.dumps(module)}: {{\n" + ",\n".join(lines) + "\n }")
    return f'{{"contract": {found["contract"]}, "modules": {{\n' + ",\n".join(modules) + "\n}}\n"


def _exports(modules: griffe.ModulesCollection, module: str) -> Described:
    found = _target(modules[module])
    names = [str(getattr(name, "name", name)) for name in found.exports or ()]
    return {
        name: _described(_target(found.members[name])) for name in names if name in found.members
    }


def _fixtures(plugin: griffe.Object) -> dict[str, Any]:
    own = {name: value for name, value in plugin.members.items() if not value.is_alias}
    functions = {name: value for name, value in own.items() if value.is_function}
    return {
        name: f
        for name, f in functions.items()
        if any("fixture" in str(d.value) for d in f.decorators)
    }


def _target(value: Any) -> Any:
    """What a name stands for; None for a constant that is assigned in a way which cannot be read."""
    try:
        return value.final_target if value.is_alias else value
    except griffe.AliasResolutionError:
        return None


def _described(value: Any) -> Described:
    if value is None:
        return {"kind": "attribute", "type": "", "default": True}
    if value.is_class:
        return _class(value)
    if value.is_function:
        return _function(value)
    return {
        "kind": "attribute",
        "type": str(value.annotation or ""),
        "default": value.value is not None,
    }


def _class(value: Any) -> Described:
    bases = [str(base).rpartition(".")[2] for base in value.bases]
    members = {}
    for owner in reversed([value, *_parents(value)]):
        for name, member in owner.members.items():
            if (
                (not name.startswith("_") or name in CALLED)
                and not member.is_alias
                and not member.is_class
            ):
                members[name] = _described(member)
    return {"kind": "class", "bases": bases, "members": members}


def _parents(value: Any) -> list[Any]:
    """Base classes of these packages, nearest first."""
    return [parent for parent in value.mro() if parent.path.partition(".")[0] in PACKAGES]


def _function(value: Any) -> Described:
    parameters = [
        {
            "name": p.name,
            "kind": p.kind.value,
            "type": str(p.annotation or ""),
            "default": p.default is not None,
        }
        for p in value.parameters
        if p.name not in ("self", "cls")
    ]
    described = {"kind": "function", "parameters": parameters, "returns": str(value.returns or "")}
    may_be_left_out = any(str(decorator.value) == "optional" for decorator in value.decorators)
    return {**described, "default": True} if may_be_left_out else described


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
