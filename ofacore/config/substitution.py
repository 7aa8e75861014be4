"""``${a.b}`` and ``${env:NAME}`` inside values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from ofacore.config.documents import parse_value
from ofacore.config.layering import Layer, Path
from ofacore.config.problems import Problem
from ofacore.config.schema import RunConfig, TaskConfig
from ofacore.plugin import suggest

_TOKEN = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
VARIABLES = "_vars"
"""Top-level key of free values, there for ``${_vars.name}`` alone."""


def substitute(layer: Layer, environment: Mapping[str, str], problems: list[Problem]) -> Layer:
    """Replace every reference by what it refers to.

    A value that is one reference takes over the value with its type, a whole section too; inside a longer text it is
    written out. A key that is not set gives its default. Environment variables are read as YAML values. ``$${`` stands
    for ``${`` itself.
    """
    resolver = _Resolver(layer, environment, problems)
    return Layer(resolver.resolve(layer.values, ()), layer.places)


def escape(text: str) -> str:
    """The text that `substitute` turns back into ``text``."""
    return text.replace("${", "$${")


class _BadReferenceError(Exception):
    """A reference that leads nowhere; the hint is its second argument."""


class _Resolver:
    def __init__(
        self, layer: Layer, environment: Mapping[str, str], problems: list[Problem]
    ) -> None:
        self._layer, self._environment, self._problems = layer, environment, problems
        self._running: list[str] = []

    def resolve(self, value: Any, path: Path) -> Any:
        """The value with all references replaced; a bad one is reported and left as it is."""
        if isinstance(value, dict):
            return {key: self.resolve(child, (*path, key)) for key, child in value.items()}
        if isinstance(value, list):
            return [self.resolve(child, (*path, number)) for number, child in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        try:
            return self._text(value)
        except _BadReferenceError as error:
            self._problems.append(self._layer.problem(path, *error.args))
            return value

    def _text(self, text: str) -> Any:
        whole = _TOKEN.fullmatch(text)
        if whole and whole[1] is not None:
            return self._refer(whole[1].strip())
        return _TOKEN.sub(self._written, text)

    def _written(self, match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        if match[1] is None:
            raise _BadReferenceError(
                "found '${' without its '}'", "write $${ for the characters themselves"
            )
        value = self._refer(match[1].strip())
        if isinstance(value, dict | list):
            raise _BadReferenceError(
                f"'${{{match[1]}}}' is a section or list and cannot stand inside a text", ""
            )
        return _as_text(value)

    def _refer(self, name: str) -> Any:
        if name.startswith("env:"):
            return self._variable(name.removeprefix("env:").strip())
        if name in self._running:
            chain = " -> ".join([*self._running, name])
            raise _BadReferenceError(f"'${{{name}}}' refers to itself: {chain}", "")
        self._running.append(name)
        try:
            return self._deep(self._lookup(name))
        finally:
            self._running.pop()

    def _deep(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._deep(child) for key, child in value.items()}
        if isinstance(value, list):
            return [self._deep(child) for child in value]
        return self._text(value) if isinstance(value, str) and "${" in value else value

    def _variable(self, name: str) -> Any:
        if name not in self._environment:
            raise _BadReferenceError(
                f"the environment variable '{name}' is not set", suggest(name, self._environment)
            )
        try:
            return parse_value(self._environment[name])
        except yaml.YAMLError:
            return self._environment[name]

    def _lookup(self, name: str) -> Any:
        """The raw value at a dotted name, or its default."""
        parts = name.split(".")
        found = self._walk(self._layer.values, parts)
        if found is _MISSING:
            is_task = (
                parts[0] == "tasks"
                and len(parts) > 2
                and parts[1] in (self._layer.values.get("tasks") or {})
            )
            defaults = TaskConfig() if is_task else RunConfig()
            found = self._walk(defaults.model_dump(), parts[2:] if is_task else parts)
        if found is _MISSING:
            raise _BadReferenceError(
                f"'${{{name}}}' refers to a key that does not exist", self._near(parts)
            )
        return found

    def _walk(self, value: Any, parts: list[str]) -> Any:
        for part in parts:
            value = self._text(value) if isinstance(value, str) and "${" in value else value
            if isinstance(value, dict) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
                value = value[int(part)]
            else:
                return _MISSING
        return value

    def _near(self, parts: list[str]) -> str:
        values = self._walk(self._layer.values, parts[:-1])
        defaults = self._walk(RunConfig().model_dump(), parts[:-1])
        names = [
            key for section in (values, defaults) if isinstance(section, dict) for key in section
        ]
        return suggest(parts[-1], names)


_MISSING = object()


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)
