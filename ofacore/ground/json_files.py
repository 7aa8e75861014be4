"""JSON files that others wrote: read whole, of bearable size and depth, with a message that says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ofacore.ground.errors import UserError
from ofacore.ground.printable import shortened

LARGEST = 2**28
"""Bytes of a file; the largest dictionaries of tokens have a tenth of that."""
DEEPEST = 100
"""Containers inside of each other."""


class JsonError(UserError):
    """A file cannot be read as JSON, or holds something else than was expected.

    Attributes:
        path: The file.
        reason: What is wrong, without the path.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}")


def read_json(path: Path) -> Any:
    """Parsed content of a file in UTF-8, with or without a byte order mark.

    Raises:
        JsonError: It cannot be read, is no JSON, or is larger or nested deeper than any such file.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise JsonError(path, f"has {size} bytes; expected at most {LARGEST} of JSON")
        return parse_json(path.read_text(encoding="utf-8-sig"), path)
    except OSError as error:
        raise JsonError(path, f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise JsonError(path, f"damaged or not JSON (not UTF-8: {error.reason})") from error


def parse_json(text: str, path: Path) -> Any:
    """Parsed text; ``path`` is for messages.

    Raises:
        JsonError: It is no JSON, or nested too deep.
    """
    try:
        found = json.loads(text)
    except RecursionError:
        found = _TOO_DEEP
    except ValueError as error:
        raise JsonError(path, f"damaged or not JSON ({shortened(error)})") from error
    if found is _TOO_DEEP or _is_deep(found):
        raise JsonError(path, f"is nested more than {DEEPEST} deep; no such file is")
    return found


def read_object(path: Path) -> dict[str, Any]:
    """The object that a file holds.

    Raises:
        JsonError: It cannot be read, or holds something else.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise JsonError(path, f"holds {described(found)}; expected an object, {{...}}")
    return found


def described(value: Any) -> str:
    """What a JSON value is, in the words of JSON."""
    if isinstance(value, dict):
        return f"an object of {', '.join(shortened(name, 40) for name in list(value)[:5]) or 'nothing'}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return shortened(json.dumps(value, ensure_ascii=False))


_TOO_DEEP = object()


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        parts = (
            part.values() if isinstance(part, dict) else part
            for part in level
            if isinstance(part, dict | list)
        )
        level = [inner for part in parts for inner in part if isinstance(inner, dict | list)]
        if not level:
            return False
    return True
