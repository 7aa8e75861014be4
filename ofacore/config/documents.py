"""YAML text to a layer, every value with its line.

Scalars follow the core schema of YAML 1.2: ``true`` and ``false`` are the only booleans (``no`` is text), ``1e-3`` is a
number, and dates stay text.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from ofacore.config.layering import Layer, Path, dotted
from ofacore.config.problems import Place, Problem

_TAG = "tag:yaml.org,2002:"
_SCALARS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+0123456789."),
    ),
    ("merge", r"<<", ["<"]),
)


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    table: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for name, pattern, firsts in _SCALARS:
        for first in firsts:
            table.setdefault(first, []).append((_TAG + name, re.compile(rf"(?:{pattern})\Z")))
    return table


RESOLVERS = _resolvers()
"""First character -> (tag, pattern) of the scalars that are no text."""


_BARE = re.compile(r"""[:-] +\[[^'"]*->""")
"""An instruction that begins with a slot and stands without quotes, where YAML takes the slot for a list."""
MOST_REPEATED = 10_000
"""Values that aliases may stand for, in one document."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = RESOLVERS


def read_document(text: str, source: str, problems: list[Problem]) -> Layer:
    """Read the text of a file; what is wrong with it is added to ``problems``."""
    builder = _Builder(text, source, problems)
    values = builder.document()
    if values is None:
        values = {}
    if not isinstance(values, dict):
        found = type(values).__name__
        problems.append(
            Problem(
                "",
                f"found a {found}, expected keys such as 'tasks:' and 'train:'",
                Place(source, 1),
            )
        )
        values = {}
    return Layer(values, builder.places)


def parse_value(text: str) -> Any:
    """Read one value as YAML: ``false``, ``3``, ``[a, b]``.

    Raises:
        yaml.YAMLError: It is no YAML.
    """
    problems: list[Problem] = []
    value = _Builder(text, "", problems).document()
    if problems:
        raise yaml.YAMLError(problems[0].message)
    return value


def _malformed(error: yaml.YAMLError, text: str, source: str) -> Problem:
    """What is wrong where, what is open there, and the way out of the mistakes that are made most."""
    mark, begun = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    what = getattr(error, "problem", None) or " ".join(str(error).split())
    where = mark.line + 1 if mark else 0
    if begun and begun.line + 1 < where:
        what += f", in what begins in line {begun.line + 1}"
    lines = text.splitlines()
    line = lines[where - 1] if 0 < where <= len(lines) else ""
    remedy = ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        remedy = "YAML is indented by blanks, not by tabs"
    elif _BARE.search(line):
        remedy = "an instruction stands in quotes: 'source -> target'"
    return Problem("", f"this is not YAML: {what}", Place(source, where), remedy)


class _Builder:
    """Builds values from YAML nodes, which know their lines."""

    def __init__(self, text: str, source: str, problems: list[Problem]) -> None:
        self._text, self._source, self._problems = text, source, problems
        self._open: list[yaml.Node] = []
        self._flattened: set[int] = set()
        self._built: set[int] = set()
        self._repeated = 0
        self.places: dict[Path, Place] = {}

    def document(self) -> Any:
        try:
            self._loader = _Loader(self._text)
            node = self._loader.get_single_node()
            return None if node is None else self._build(node, ())
        except yaml.YAMLError as error:
            self._problems.append(_malformed(error, self._text, self._source))
            return None

    def _build(self, node: yaml.Node, path: Path) -> Any:
        self.places.setdefault(path, self._place(node))
        self._count(node)
        if isinstance(node, yaml.ScalarNode):
            return self._loader.construct_object(node)
        if any(node is outer for outer in self._open):
            self._problem(node, path, "this value contains itself")
            return None
        if node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            self._problem(node, path, f"the tag '{node.tag}' has no meaning here")
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            return [self._build(child, (*path, number)) for number, child in enumerate(node.value)]
        finally:
            self._open.pop()

    def _count(self, node: yaml.Node) -> None:
        """Aliases of aliases can stand for more values than there is memory for."""
        self._repeated += id(node) in self._built
        self._built.add(id(node))
        if self._repeated > MOST_REPEATED:
            message = f"aliases stand for more than {MOST_REPEATED:,} values"
            raise yaml.MarkedYAMLError(problem=message, problem_mark=node.start_mark)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        if id(node) not in self._flattened:
            self._flattened.add(id(node))
            self._check_keys(node, path)
            self._loader.flatten_mapping(node)
        entries = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                self.places[(*path, key.value)] = self._place(key)
                entries[key.value] = self._build(value, (*path, key.value))
        return entries

    def _check_keys(self, node: yaml.MappingNode, path: Path) -> None:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._problem(key, path, "a key is a single word, not a list or section")
            elif key.value in seen:
                self._problem(
                    key, (*path, key.value), f"this key stands in line {seen[key.value]} already"
                )
            else:
                seen[key.value] = key.start_mark.line + 1

    def _place(self, node: yaml.Node) -> Place:
        return Place(self._source, node.start_mark.line + 1)

    def _problem(self, node: yaml.Node, path: Path, message: str) -> None:
        self._problems.append(Problem(dotted(path), message, self._place(node)))
