"""What is nested gets a name: no conditional expression inside a call or another one, no nested comprehension."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def crowded(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, what is wrong) of every expression that wants a named step."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            for argument in given:
                if isinstance(argument, ast.IfExp):
                    yield argument.lineno, "a conditional expression inside a call"
        if isinstance(node, ast.IfExp) and _holds(node, ast.IfExp):
            yield node.lineno, "nested conditional expressions"
        if isinstance(node, COMPREHENSIONS) and _holds(node, COMPREHENSIONS):
            yield node.lineno, "nested comprehensions"


def _holds(node: ast.AST, kinds: type | tuple[type, ...]) -> bool:
    return any(isinstance(inner, kinds) for inner in ast.walk(node) if inner is not node)


@pytest.mark.parametrize("folder", ["ofacore", "cli", "plugins"])
def test_what_is_nested_has_a_name(folder):
    found = []
    for file in sorted((ROOT / folder).rglob("*.py")):
        if "tests" in file.parts:
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        found += [f"{file.relative_to(ROOT)}:{line}: {what}" for line, what in crowded(tree)]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "f(a if b else c)",
        "f(x=a if b else c)",
        "y = a if b else c if d else e",
        "[[a for a in b] for b in c]",
        "[a for a in b if any(d for d in a)]",
    ],
)
def test_crowded_expressions_are_found(text):
    assert list(crowded(ast.parse(text)))


@pytest.mark.parametrize(
    "text", ["y = a if b else c", "[a for b in c for a in b]", "f([a for a in b])"]
)
def test_plain_ones_are_not(text):
    assert not list(crowded(ast.parse(text)))
