"""What the import of a manifest brings along, read from the sources of its package."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from ofa_kit.checks.findings import Finding, Subject
from ofacore import parts
from ofacore.plugin.source import (
    NotFoundError,
    SourcePlace,
    absolute,
    is_package,
    module_file,
    top_level,
    tree_of,
)

LIGHT = (
    "ofacore.plugin",
    "ofacore",
    "ofacore.components.grids.modality",
    "ofacore.components.tokens.search_options",
)
"""Modules of the core that a manifest may import."""
HEAVY = (
    "torch",
    "torchvision",
    "transformers",
    "diffusers",
    "datasets",
    "megatron",
    "tensorflow",
    "jax",
)
"""Libraries that cost seconds or hundreds of megabytes."""
CHECK = "lightness"
_REMEDY = "name implementations as 'module:Object', or import inside the function that needs it"


@dataclass(frozen=True)
class Import:
    """One import that runs when a module is imported."""

    module: str
    place: SourcePlace


def module_imports(module: str, types: bool = False) -> Iterator[Import]:
    """Modules that a module imports when it is imported itself; submodules that ``from`` may mean are not among them.

    Raises:
        NotFoundError: There is no such module.
        SyntaxError: It is no Python.
    """
    file = module_file(module)
    tree = tree_of(file)
    for node in top_level(tree.body, types) if tree else ():
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, SourcePlace(file, node.lineno)) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = absolute(node, module, is_package(module))
            for name in _sources(source, [alias.name for alias in node.names]):
                yield Import(name, SourcePlace(file, node.lineno))


def _sources(source: str, names: list[str]) -> list[str]:
    """A module that names are imported from, and what they would be called as its modules.

    Names of `ofacore.parts` are imported at first use, so such an import is one of the rooms that they live in.
    """
    if source == parts.__name__ and all(parts.home_of(name) for name in names):
        return [parts.home_of(name) for name in names]
    return [source, *(f"{source}.{name}" for name in names)]


def own_modules(module: str) -> Iterator[str]:
    """A module, its parents, and every module of the same package that importing it imports in turn."""
    package = module.partition(".")[0]
    parts = module.split(".")
    waiting = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = [entry.module for entry in module_imports(name)]
        except (NotFoundError, SyntaxError, OSError, UnicodeDecodeError):
            continue
        yield name
        waiting += [inner for inner in found if inner.partition(".")[0] == package]


def foreign_imports(module: str) -> dict[str, SourcePlace]:
    """Modules outside of its package and of the standard library that importing a module imports, with the first place.

    Names behind ``from x import`` that are no modules are left out.
    """
    package = module.partition(".")[0]
    found: dict[str, SourcePlace] = {}
    for name in own_modules(module):
        for entry in module_imports(name):
            top = entry.module.partition(".")[0]
            if (
                top not in (package, "")
                and top not in sys.stdlib_module_names
                and _is_module(entry.module)
            ):
                found.setdefault(entry.module, entry.place)
    return found


def check_lightness(subject: Subject, target: str) -> Iterator[Finding]:
    """A manifest is imported by every command: it brings nothing along but `ofacore.plugin`."""
    for module, place in foreign_imports(target.partition(":")[0]).items():
        if module in LIGHT:
            continue
        tell = subject.problem if module.partition(".")[0] in HEAVY else subject.warning
        yield tell(CHECK, f"the manifest imports '{module}'", _REMEDY, str(place))


def _is_module(name: str) -> bool:
    try:
        module_file(name)
    except NotFoundError:
        return False
    return True
