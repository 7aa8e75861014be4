"""Tokens of the instruction language, and its spelling rules for literal text and values.

The tokenizer is total: it takes any string, and leaves it to the parser to say what is wrong. Between brackets
it reads slot tokens, elsewhere sentence tokens. The kind of a symbol is its spelling.
"""

from __future__ import annotations

import re
from typing import NamedTuple

NAME = re.compile(r"[A-Za-z0-9_]+")
TYPE = re.compile(r"[A-Z][A-Z0-9_]*")
BARE_VALUE = re.compile(r"[A-Za-z0-9_.+\-/]+")
EMPTY_REPEAT = re.compile(r"\(\s*\)\*")

_ESCAPE = re.compile(r"\\([\\\[\]()]|->|\|\|\|)")
_SENTENCE = re.compile(
    rf"""(?P<escaped>{_ESCAPE.pattern})
    | (?P<text>[^\\\-|\[\]()]+ | -++(?!>))
    | (?P<long_arrow>--+>)
    | (?P<symbol>-> | \|\|\| | [\[\](] | \)[*?]?)
    | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_SLOT = re.compile(
    r"""(?P<blank>\s+)
    | (?P<word>(?:[A-Za-z0-9_.+/]|-(?!>))+)
    | (?P<quoted>"(?:\\.|[^"\\])*+")
    | (?P<unclosed>".*)
    | (?P<symbol>-> | [\[\]:,=|])
    | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A piece of the text; ``kind`` is the symbol itself, or a word for what is no symbol."""

    kind: str
    start: int
    end: int


def tokenize(text: str) -> list[Token]:
    """Split any text into tokens, the last of them of kind ``end``; blanks between slot tokens are left out."""
    tokens: list[Token] = []
    position, pattern = 0, _SENTENCE
    while match := pattern.match(text, position):
        position = match.end()
        kind = match[0] if match.lastgroup == "symbol" else str(match.lastgroup)
        if kind in ("[", "]"):
            pattern = _SLOT if kind == "[" else _SENTENCE
        if kind != "blank":
            tokens.append(Token(kind, match.start(), position))
    return [*tokens, Token("end", len(text), len(text))]


def unescape(raw: str) -> str:
    """Return the literal text that an escaped spelling stands for."""
    return _ESCAPE.sub(r"\1", raw)


def quote(value: str) -> str:
    """Spell any value in quotes."""
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


def unquote(quoted: str) -> str:
    r"""Return the value that a quoted spelling stands for; a backslash before other than ``"`` or ``\`` is itself."""
    return re.sub(r'\\(["\\])', r"\1", quoted[1:-1])
