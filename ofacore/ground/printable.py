"""Text of strangers on a terminal: names and messages without what a terminal would obey, and of bearable length.

Every exit passes through one of these: errors and warnings through `printable`, reports line by line and single foreign
names and values through `shortened`, which keeps them on one line, answers through `escaped`, which leaves out nothing.
"""

from __future__ import annotations

import unicodedata

LONGEST_NAME = 120
LONGEST_LINE = 1000
MOST_LINES = 60
_KEPT = frozenset("\n\t")
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of Unicode that control, reorder or hide: ESC, right-to-left marks, half surrogates, line separators."""
_JOINERS = frozenset("\u200c\u200d")
"""Needed to write Persian and emoji."""


def shortened(text: object, most: int = LONGEST_NAME) -> str:
    """A foreign name or value on one line, its middle left out where it is longer than ``most`` characters."""
    whole = str(text)
    if len(whole) > most:
        half = (most - 5) // 2
        whole = f"{whole[:half]} ... {whole[-half:]}"
    return _escaped(whole, frozenset())


def printable(text: str) -> str:
    """A message as a terminal can be given it: control characters escaped, at most a screen of lines."""
    lines = text.split("\n")
    if len(lines) > MOST_LINES:
        left = len(lines) - MOST_LINES + 1
        lines = [*lines[: MOST_LINES - 3], f"... {left} more lines", *lines[-2:]]
    return "\n".join(_line(line) for line in lines)


def escaped(text: str) -> str:
    """The whole text, control characters escaped; lines and tabs stay."""
    return _escaped(text, _KEPT)


def _line(line: str) -> str:
    if len(line) > LONGEST_LINE:
        half = LONGEST_LINE // 2
        line = f"{line[:half]} ... {len(line) - 2 * half} more characters ... {line[-half:]}"
    return _escaped(line, _KEPT)


def _escaped(text: str, kept: frozenset[str]) -> str:
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if letter in kept or _shows(letter) else _code(letter) for letter in text)


def _shows(letter: str) -> bool:
    return letter in _JOINERS or unicodedata.category(letter) not in _INVISIBLE


def _code(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
