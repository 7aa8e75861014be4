"""Where the objects of a plugin are defined, found by reading source files; nothing of them is executed."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

_HOPS = 5
"""Most re-exports that are followed."""


@dataclass(frozen=True)
class SourcePlace:
    """Where something is."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class NotFoundError(LookupError):
    """There is no such module or object; the message says which part is missing."""


def module_file(module: str) -> str:
    """The file of a module; of one that is no Python source, whatever its loader says.

    Only the finders of installed packages are asked: parents are not imported.

    Raises:
        NotFoundError: There is no such module.
    """
    spec = _spec(module)
    return spec.origin or next(iter(spec.submodule_search_locations or ()), module)


def locate(target: str) -> SourcePlace:
    """File and line of ``"module:Object"``.

    Raises:
        NotFoundError: The module or the object is not there.
    """
    module, _, path = target.partition(":")
    return _locate(module, path.split("."), _HOPS)


@cache
def tree_of(file: str) -> ast.Module | None:
    """The syntax tree of a source file; None for anything else.

    Raises:
        SyntaxError: The file is no Python.
    """
    return ast.parse(Path(file).read_text(encoding="utf-8"), file) if file.endswith(".py") else None


def top_level(body: Sequence[ast.stmt], types: bool = True) -> Iterator[ast.stmt]:
    """Statements that run when a module is imported, those in branches too.

    Args:
        types: Also those under ``if TYPE_CHECKING``.
    """
    for statement in body:
        yield statement
        if isinstance(statement, ast.If):
            if types or "TYPE_CHECKING" not in ast.unparse(statement.test):
                yield from top_level(statement.body, types)
            yield from top_level(statement.orelse, types)
        elif isinstance(statement, ast.Try):
            for branch in (statement.body, statement.orelse, statement.finalbody):
                yield from top_level(branch, types)
            for handler in statement.handlers:
                yield from top_level(handler.body, types)
        elif isinstance(statement, ast.With):
            yield from top_level(statement.body, types)


def absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    """The module that a ``from ... import`` in ``module`` names."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, *filter(None, [node.module])])


def is_package(module: str) -> bool:
    """Whether the module is a folder."""
    return _spec(module).submodule_search_locations is not None


def _spec(module: str) -> ModuleSpec:
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    name = top
    for part in rest if spec else ():
        name = f"{name}.{part}"
        places = spec.submodule_search_locations if spec else None
        spec = PathFinder.find_spec(name, places) if places is not None else None
        if spec is None:
            break
    if spec is None:
        raise NotFoundError(f"there is no module '{name}'")
    return spec


def _locate(module: str, path: Sequence[str], hops: int) -> SourcePlace:
    file = module_file(module)
    tree = tree_of(file)
    if tree is None:
        return SourcePlace(file)
    found = _definition(tree, path[0])
    if found is None:
        if any(
            isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body
        ):
            return SourcePlace(file)
        raise NotFoundError(f"'{module}' has no '{path[0]}'")
    if isinstance(found, ast.ImportFrom) and hops:
        original = next(
            alias.name for alias in found.names if (alias.asname or alias.name) == path[0]
        )
        return _locate(absolute(found, module, is_package(module)), [original, *path[1:]], hops - 1)
    if len(path) > 1 and isinstance(found, ast.ClassDef):
        inner = _definition(found, path[1])
        if inner is None and not found.bases:
            raise NotFoundError(f"'{module}:{path[0]}' has no '{path[1]}'")
        found = inner or found
    return SourcePlace(file, found.lineno)


def _definition(scope: ast.Module | ast.ClassDef, name: str) -> ast.stmt | None:
    """The last statement that gives the name its meaning."""
    return next(
        (found for found in reversed(list(top_level(scope.body))) if name in _names(found)), None
    )


def _names(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
    targets = (
        statement.targets
        if isinstance(statement, ast.Assign)
        else [getattr(statement, "target", None)]
    )
    return {
        node.id
        for target in targets
        if target
        for node in ast.walk(target)
        if isinstance(node, ast.Name)
    }
