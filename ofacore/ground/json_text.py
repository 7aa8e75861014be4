"""JSON as every reader knows it: the one writer of whatever is printed or stored as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


class NotJsonError(TypeError, ValueError):
    """A value that JSON cannot hold without loss: ``path`` is the key path to it, ``found`` what it is, in words."""

    def __init__(self, path: tuple[str, ...], value: Any) -> None:
        self.path = ".".join(path)
        self.found = f"a {type(value).__name__}"
        if isinstance(value, float):
            self.found = "a number that is not finite"
        message = f"{self.found} is no JSON"
        if path:
            message = f"{self.path}: {self.found} cannot be stored as JSON"
        super().__init__(message)


def json_text(
    value: Any, *, indent: int | None = None, sort_keys: bool = False, lossless: bool = False
) -> str:
    """A JSON document of RFC 8259; numbers and arrays of numpy become plain ones.

    Args:
        value: Numbers that are not finite become null, for JSON has no word for them; anything else that JSON does not
            know becomes its text.
        indent: Blanks of each level; None: all on one line.
        sort_keys: Keys in the order of the alphabet.
        lossless: Refuse what would come back as something else.

    Raises:
        NotJsonError: ``lossless``, and a value is not finite or unknown to JSON.
    """
    plain = _plain(value, (), lossless)
    return json.dumps(
        plain, indent=indent, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False
    )


def _plain(value: Any, path: tuple[str, ...], lossless: bool) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, Mapping):
        return {
            _key(key): _plain(entry, (*path, str(key)), lossless) for key, entry in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(entry, (*path, str(number)), lossless) for number, entry in enumerate(value)]
    if hasattr(value, "tolist"):
        return _plain(value.tolist(), path, lossless)
    if lossless:
        raise NotJsonError(path, value)
    return None if isinstance(value, float) else str(value)


def _key(key: Any) -> Any:
    return key if key is None or isinstance(key, str | bool | int) else str(key)
