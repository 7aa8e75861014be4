"""``--set a.b=c``: single settings over everything that the files say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from ofacore.config.documents import parse_value
from ofacore.config.layering import Layer, Path, dotted
from ofacore.config.problems import Place, Problem
from ofacore.ground.excerpts import excerpt

_QUOTED, _PLAIN = r'"([^"]+)"', r'([^".][^.]*)'
_KEY = f"(?:{_QUOTED}|{_PLAIN})"


def apply_overrides(layer: Layer, overrides: Sequence[str], problems: list[Problem]) -> Layer:
    """The layer with each override set, later ones over earlier ones.

    ``a.b=c`` sets the key ``b`` of section ``a``; a number is a place in a list: ``metrics.0.slot=cap``; a key that
    holds dots stands in double quotes: ``options."adapter/net.v2".width=3``. The value is read as YAML (``false``,
    ``3``, ``[a, b]``); text with an arrow ``->`` is taken as it stands, nothing is the empty text.
    ``tasks.name=null`` takes a task out.
    """
    result = Layer(_copied(layer.values), dict(layer.places))
    for override in overrides:
        place = Place(f"--set {override}")
        key, equals, text = override.partition("=")
        parts = _parts(key.strip())
        if not equals or not parts:
            message = f"found '{override}', expected key=value such as train.steps=100"
            problems.append(Problem(key.strip(), message, place))
            continue
        try:
            _set(result, parts, _value(text.strip()), place)
        except yaml.YAMLError as error:
            problems.append(
                Problem(
                    key.strip(), " ".join(str(error).split()), place, "put the value into quotes"
                )
            )
        except _NoPlaceError as error:
            problems.append(Problem(key.strip(), str(error), place))
    return result


class _NoPlaceError(Exception):
    """The key path leads through a value that holds no keys."""


def _parts(key: str) -> list[str]:
    """The keys of a path; none where one is missing or a quotation mark is left open."""
    if not re.fullmatch(rf"{_KEY}(\.{_KEY})*", key):
        return []
    return [quoted or plain for quoted, plain in re.findall(_KEY, key)]


def _value(text: str) -> Any:
    mark = (
        len(text) == 1 and not text.isalnum() and text != "~"
    )  # YAML reads some of these as the begin of more
    if not text or mark or "->" in text:
        return text
    return parse_value(text)


def _set(layer: Layer, parts: list[str], value: Any, place: Place) -> None:
    holder: Any = layer.values
    path: Path = ()
    for part in parts[:-1]:
        step = _step(holder, part, path)
        if isinstance(holder, dict) and holder.get(part) is None:
            holder[part] = {}
            layer.places[(*path, step)] = place
        holder, path = holder[step], (*path, step)
    last = _step(holder, parts[-1], path)
    path = (*path, last)
    for stale in [known for known in layer.places if known[: len(path)] == path]:
        del layer.places[stale]
    if value is None and len(path) == 2 and path[0] == "tasks" and last in holder:
        del holder[last]
        return
    holder[last] = value
    layer.places[path] = place


def _step(holder: Any, part: str, path: Path) -> str | int:
    if isinstance(holder, dict):
        return part
    if not isinstance(holder, list):
        raise _NoPlaceError(
            f"'{dotted(path)}' is the value {excerpt(holder)}, which has no key '{part}'"
        )
    if not part.isdecimal() or int(part) >= len(holder):
        raise _NoPlaceError(
            f"'{dotted(path)}' is a list of {len(holder)}; expected a number from 0, not '{part}'"
        )
    return int(part)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(child) for key, child in value.items()}
    return [_copied(child) for child in value] if isinstance(value, list) else value
