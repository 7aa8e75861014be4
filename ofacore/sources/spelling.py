"""Names of columns: one spelling of accented letters, and each name once."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import TypeVar

_Name = TypeVar("_Name")


def column_name(key: object) -> str:
    """The name of a column, accented letters as one character each (Unicode NFC)."""
    name = str(key)
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def repeated(names: Iterable[_Name]) -> _Name | None:
    """The first name that occurs a second time; None if each occurs once."""
    seen: set[_Name] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
