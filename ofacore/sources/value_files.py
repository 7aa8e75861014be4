"""Values that name files: where a file is looked for, and how its name may be spelt."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from ofacore.ground.patterns import is_remote

_LONGEST = 1024
_CONTENT = ("data:", "b'", 'b"')
"""How content begins that stands in a field itself: a data URI, bytes as Python writes them."""
_STRUCT = frozenset(("bytes", "path"))
"""Keys of the form in which Hugging Face keeps a picture or a sound."""


def may_name_file(text: str) -> bool:
    """Whether a text could be the path of a file: short, with a dot, on one line, no address and no content."""
    if "." not in text or len(text) > _LONGEST or "\n" in text or "\0" in text:
        return False
    return not text.startswith(_CONTENT) and not is_remote(text)


def found_file(text: str, folders: Sequence[str] = ("",)) -> str | None:
    """The path of a file that a text names, looked for below each folder; None if there is none.

    Names are tried as they stand, with the separators of Windows, and with accented letters as one character or two.

    Args:
        text: The name, relative or absolute.
        folders: Where to look, in order; the empty text is the working directory.
    """
    for folder in folders:
        for name in _spellings(text):
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                return path
    return None


def _spellings(text: str) -> list[str]:
    names = [text]
    if "\\" in text:
        names.append(text.replace("\\", "/"))
    if not text.isascii():
        names += [
            unicodedata.normalize(form, name) for name in list(names) for form in ("NFC", "NFD")
        ]
    return names


def content_or_path(value: Any) -> Any:
    """Bytes of a mapping ``{bytes, path}``, or its path where it holds no bytes; other values as they are."""
    if isinstance(value, list):
        return [content_or_path(part) for part in value]
    if not isinstance(value, Mapping) or value.keys() != _STRUCT:
        return value
    return value["path"] if value["bytes"] is None else value["bytes"]


def file_value(value: Any) -> Any:
    """A value of a slot that takes files: mappings opened, names in another spelling corrected."""
    value = content_or_path(value)
    if isinstance(value, str) and may_name_file(value):
        return found_file(value) or value
    return [file_value(part) for part in value] if isinstance(value, list) else value
