"""Transforms of raw columns, declared by name in a task and applied at training and inference alike.

A component of kind ``transform`` is a function ``value -> value`` with the component's options as keywords. It accepts
values that it has already changed, so that applying it twice does no harm, unless its documentation says otherwise.
"""

from __future__ import annotations

import ast
import json
import string
from datetime import date, time
from decimal import Decimal
from typing import Any

from ofacore.ground.json_text import json_text
from ofacore.plugin.manifest import Component, Option

_LONGEST_LITERAL = 1_000_000
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def lower(value: str) -> str:
    """Lower case."""
    return value.lower()


def strip_punctuation(value: str) -> str:
    """ASCII punctuation removed, blanks joined: ``"a dog, running."`` -> ``"a dog running"``."""
    return join_blanks(value.translate(_PUNCTUATION))


def join_blanks(value: str) -> str:
    """Runs of blanks and line breaks become one blank; none at the ends."""
    return " ".join(value.split())


def truncate_words(value: str, words: int = 128) -> str:
    """The first ``words`` words."""
    return " ".join(value.split()[:words])


def replace_underscores(value: str) -> str:
    """Underscores become blanks: label names that were made from words."""
    return value.replace("_", " ")


def split_references(value: str | list[str], separator: str = "&&") -> list[str]:
    """Several references in one string, ``a&&b``, become a list; a list stays as it is."""
    return [part.strip() for part in value.split(separator)] if isinstance(value, str) else value


def first_reference(value: str | list[str], separator: str = "&&") -> str:
    """The first of several references, as the value to learn."""
    return (split_references(value, separator) or [""])[0]


def from_json(value: Any) -> Any:
    """Text that holds JSON becomes what it holds: a list in a field of a CSV file. What is no text stays as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        if value.lstrip()[:1] in ("[", "(", "{") and "'" in value:
            raise ValueError(
                f"{error}; if Python wrote it, as in ['a', \"b's\"], use 'from_python'"
            ) from error
        raise


def to_json(value: Any) -> Any:
    """What is nested, a list or an object, becomes JSON text; a text and an absent value stay as they are."""
    if value is None or isinstance(value, str):
        return value
    return json_text(value, lossless=True)


def from_python(value: Any) -> Any:
    """Text that holds a list, dictionary or other literal as Python writes it, ``['a', "b's"]``, becomes that."""
    if not isinstance(value, str):
        return value
    if len(value) > _LONGEST_LITERAL:
        raise ValueError(f"{len(value)} characters; at most {_LONGEST_LITERAL}, give JSON instead")
    return ast.literal_eval(value.strip())


def text(value: Any) -> Any:
    """Truth values (``true``, ``false``), numbers, dates, times and UUIDs become text, and so do bytes of UTF-8.

    Lists are taken apart.
    """
    if isinstance(value, list | tuple):
        return [text(part) for part in value]
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.isoformat() if isinstance(value, date | time) else str(value)


def spaced(value: str) -> str:
    """Letters apart, blanks as ``_``, so that each letter is a token: ``"a dog"`` -> ``"a _ d o g"``. Apply once."""
    return " ".join(value.replace(" ", "_"))


def unspaced(value: str) -> str:
    """What `spaced` did, undone."""
    return value.replace(" ", "").replace("_", " ")


_SEPARATOR = Option("&&", "What stands between two references.")


def _component(name: str, doc: str, **options: Option) -> Component:
    return Component(
        "transform", name, f"ofacore.components.transforms:{name}", doc, options=options
    )


TRANSFORMS: tuple[Component, ...] = (
    _component("lower", "lower case"),
    _component("strip_punctuation", "ASCII punctuation removed"),
    _component("join_blanks", "runs of blanks become one"),
    _component(
        "truncate_words", "the first words", words=Option(128, "How many are kept.", minimum=0)
    ),
    _component("replace_underscores", "underscores become blanks"),
    _component("split_references", "`a&&b` becomes a list", separator=_SEPARATOR),
    _component("first_reference", "`a&&b` becomes `a`", separator=_SEPARATOR),
    _component("from_json", "text that holds JSON becomes what it holds"),
    _component("to_json", "lists and objects become JSON text"),
    _component("from_python", "text that holds a literal of Python becomes what it holds"),
    _component("text", "truth values, numbers, dates, times and bytes of UTF-8 become text"),
    _component("spaced", "letters apart, blanks as `_`"),
    _component("unspaced", "undoes `spaced`"),
)
"""For the manifest of the core's own components."""
