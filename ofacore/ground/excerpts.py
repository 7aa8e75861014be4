"""Values and names as messages show them: short, whatever they are."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from itertools import islice
from typing import Any

SCREEN = 2000
"""Characters of the longest message about one value or row."""
_NAMES = 20
_NAME = 60
_HEAD = 8
"""Bytes that are shown of binary content."""
_BITS = 1024
"""Of a number that is written out."""


class _Short(reprlib.Repr):
    """Looks at the beginning of a value only, so that a large one costs no time either."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxstring = self.maxother = 200

    def repr_int(self, value: int, level: int) -> str:
        """The number; Python refuses to write one of thousands of digits."""
        return (
            repr(value) if value.bit_length() < _BITS else f"a number of {value.bit_length()} bits"
        )

    def repr_bytes(self, value: Any, level: int) -> str:
        """The first bytes and how many there are."""
        if len(value) <= _HEAD:
            return repr(value)
        return f"{bytes(value[:_HEAD])!r}... ({len(value)} bytes)"

    repr_bytearray = repr_bytes

    def repr_ndarray(self, value: Any, level: int) -> str:
        """Kind and shape; of a single number the number."""
        if value.ndim == 0:
            return self.repr1(value.item(), level)
        return f"{type(value).__name__}({value.dtype}, shape {list(value.shape)})"

    repr_Tensor = repr_ndarray  # the name of the type


_SHORT = _Short()


def excerpt(value: Any, limit: int = 60) -> str:
    """A value as Python writes it, its beginning where it is long; one line.

    Arrays are shown by type and shape, bytes by their beginning and number.

    Args:
        value: Anything.
        limit: Most characters.
    """
    return cut(" ".join(_SHORT.repr(value).split("\n")), limit)


def cut(text: str, limit: int = SCREEN) -> str:
    """A text, or its beginning and three dots."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def listing(names: Iterable[object], most: int = _NAMES) -> str:
    """``a, b, c``, of many names the first and how many more; long names are cut."""
    known = list(names)
    shown = ", ".join(cut(str(name), _NAME) for name in islice(known, most))
    return f"{shown} and {len(known) - most} more" if len(known) > most else shown
