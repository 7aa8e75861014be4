"""One spelling of a name: an accented letter may be written as one character or as two."""

from __future__ import annotations

import unicodedata


def column_name(key: object) -> str:
    """The name of a column, accented letters as one character each (Unicode NFC)."""
    name = str(key)
    return name if name.isascii() else unicodedata.normalize("NFC", name)
