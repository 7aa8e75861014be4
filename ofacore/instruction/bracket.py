"""A cursor over the tokens of one bracket, with the repairs that error hints show."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ofacore.instruction.lexing import Token, quote
from ofacore.instruction.syntax_error import InstructionError

ITEM_END = (",", "]", "|")
"""What may follow a name, a key or a value."""


class Bracket:
    """Stands between an opening bracket and what closes it, or fails to."""

    def __init__(self, text: str, tokens: Sequence[Token], opening: int) -> None:
        """Stand behind the bracket ``tokens[opening]``."""
        self._text = text
        self._tokens = tokens
        self.opening = tokens[opening]
        self.index = opening + 1
        """Number of the token to take next."""

    def peek(self, ahead: int = 0) -> Token:
        """Return a token near the next one, -1 for the last taken; the end token repeats."""
        return self._tokens[min(self.index + ahead, len(self._tokens) - 1)]

    def take(self) -> Token:
        """Return the next token and step behind it."""
        token = self.peek()
        self.index += 1
        return token

    def accept(self, kind: str) -> Token | None:
        """Take the next token if it is of that kind."""
        return self.take() if self.peek().kind == kind else None

    def spelling(self, token: Token) -> str:
        """Return a token as written."""
        return self._text[token.start : token.end]

    def written(self, *stops: str) -> tuple[str, int]:
        """Return the text from the next token up to the end of the item or to a stop, and its end offset."""
        start, stop = self.peek().start, self._next(*ITEM_END, *stops).start
        text = self._text[start:stop].rstrip()
        return text, start + len(text)

    def unclosed(self) -> bool:
        """Tell whether another bracket or the end of the text comes before the closing bracket."""
        return self._next("]", "[", "unclosed").kind != "]"

    def check_closed(self) -> None:
        """Raise if the quote at hand or the bracket is never closed."""
        last, token = self.peek(-1), self.peek()
        if token.kind == "unclosed":
            raise self._open_quote(token)
        if last.kind == "quoted" and self._next("]", "[", "unclosed").kind == "unclosed":
            raise self._open_quote(last)
        if self.unclosed():
            hint = self._text[self.opening.start : last.end].rstrip(" ,:=|") + "]"
            raise self.error(
                "this slot is not closed: `]` is missing here", last.end, _one_line(hint)
            )

    def _open_quote(self, token: Token) -> InstructionError:
        value = re.split(r"[\[\]]|->", self._text[token.start + 1 :], maxsplit=1)[0].strip()
        hint = f"{self._text[self.opening.start : token.start]}{quote(value)}]"
        return self.error("this quote is never closed", token.start, _one_line(hint))

    def literal(self) -> str:
        """Return the bracket with the escapes that make it plain text."""
        return rf"\{self._text[self.opening.start : self._closing()]}\]"

    def repaired(self, start: int, end: int, replacement: str) -> str:
        """Return the bracket with another text between two offsets."""
        before, after = self._text[self.opening.start : start], self._text[end : self._closing()]
        return _one_line(f"{before}{replacement}{after}]")

    def cut(self, start: int) -> str:
        """Return the bracket without what it holds from an offset on."""
        return self.repaired(start, self._closing(), "")

    def error(self, message: str, position: int, hint: str) -> InstructionError:
        """Make an error at an offset of the text."""
        return InstructionError(message, self._text, position, hint)

    def _next(self, *kinds: str) -> Token:
        return next(token for token in self._tokens[self.index :] if token.kind in (*kinds, "end"))

    def _closing(self) -> int:
        return self._next("]").start


def _one_line(text: str) -> str:
    return " ".join(text.split())
