"""From what a user gives to plain strings."""

from __future__ import annotations

import math
import string
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import date, time, timedelta
from decimal import Decimal
from numbers import Integral, Real
from typing import Any
from uuid import UUID

from ofacore.protocols import Options, RowError, excerpt


def as_text(value: Any, column: str) -> str:
    """A string or number as text; a date or time as ISO 8601 writes it.

    Raises:
        RowError: Anything else, a number that is not finite, or a string that is not valid Unicode.
    """
    if isinstance(value, str):
        return _valid_unicode(value, column)
    if isinstance(value, Real) and not isinstance(value, bool):
        return _of_number(value, column)
    if isinstance(value, Decimal) and value.is_finite():
        return format(value, "f")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bool | bytes | timedelta | UUID):
        found = f"{type(value).__name__} {excerpt(value)}"
        remedy = "the transform 'text' makes it text"
        raise RowError(f"column '{column}': expected text or a number, got {found}; {remedy}")
    raise RowError(f"column '{column}': expected text or a number, got {_described(value)}")


def _of_number(value: Real, column: str) -> str:
    if isinstance(value, Integral):
        try:
            return str(value)
        except ValueError:
            raise RowError(
                f"column '{column}': a whole number with more digits than Python writes; give it as a text"
            ) from None
    if math.isfinite(value):
        return str(value)
    raise RowError(
        f"column '{column}': {value} is no text; leave the column out, or None, where there is no value"
    )


def normalise(text: str, attributes: Options) -> str:
    """Apply the attributes ``uncased`` and ``no_punctuation``."""
    if attributes.get("uncased"):
        text = text.lower()
    if attributes.get("no_punctuation"):
        text = " ".join("".join(letter for letter in text if not _is_punctuation(letter)).split())
    return text


def texts_of(values: Iterable[Any]) -> Iterator[str]:
    """All texts among ``values``, lists taken apart; what is no text is passed over (encoding reports it by row)."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from texts_of(value)
        elif isinstance(value, str | Real | Decimal | date | time):
            try:
                yield as_text(value, "")
            except RowError:
                continue


def _is_punctuation(letter: str) -> bool:
    return letter in string.punctuation or unicodedata.category(letter).startswith("P")


def _valid_unicode(text: str, column: str) -> str:
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise RowError(
            f"column '{column}': the text holds half a surrogate pair; read the file as UTF-8"
        )
    return text


def _described(value: Any) -> str:
    return f"{type(value).__name__} {excerpt(value)}"
