"""The error of the instruction language, and the picture of the place it points at."""

from __future__ import annotations

from unicodedata import combining, east_asian_width

_WIDTH = 100
_ELLIPSIS = "..."


class InstructionError(ValueError):
    """A mistake in an instruction.

    Attributes:
        message: What is wrong, in one line.
        text: The whole instruction.
        position: Offset of the mistake, ``0 <= position <= len(text)``.
        hint: A spelling that would do, or None.
        line: Line of the mistake, from 1.
        column: Character within the line, from 1.
    """

    def __init__(self, message: str, text: str, position: int, hint: str | None = None) -> None:
        super().__init__(message, text, position, hint)
        self.message = message
        self.text = text
        self.position = position
        self.hint = hint
        self.line, self.column = _line_and_column(text, position)

    def __str__(self) -> str:
        return caret(self.text, self.position, self.message, self.hint)


def caret(text: str, position: int, message: str, hint: str | None = None) -> str:
    """Draw a mistake: place and message, the line, a caret under the character, the way out.

    Args:
        text: The whole instruction, of one or more lines.
        position: Offset of the mistake, ``0 <= position <= len(text)``.
        message: What is wrong, in one line.
        hint: A spelling that would do; without it the last line is left out.
    """
    line, column = _line_and_column(text, position)
    shown, padding = _window(text.split("\n")[line - 1], column - 1)
    picture = [f"line {line}, column {column}: {message}", f"  {shown}".rstrip(), f"  {padding}^"]
    return "\n".join(picture + ([f"try: {hint}"] if hint else []))


def _line_and_column(text: str, position: int) -> tuple[int, int]:
    return text.count("\n", 0, position) + 1, position - (text.rfind("\n", 0, position) + 1) + 1


def _window(line: str, offset: int) -> tuple[str, str]:
    """Return the part of the line around the offset as a terminal shows it, and blanks as wide as what precedes it."""
    first = max(0, offset - _WIDTH // 2) if len(line) > _WIDTH else 0
    last = min(len(line), first + _WIDTH)
    before = (_ELLIPSIS if first else "") + line[first:offset]
    after = line[offset:last] + (_ELLIPSIS if last < len(line) else "")
    return "".join(map(_visible, before + after)), "".join(map(_blank, before))


def _visible(character: str) -> str:
    if character.isprintable() or character == "\t":
        return character
    return " " if character.isspace() else "\N{REPLACEMENT CHARACTER}"


def _blank(character: str) -> str:
    if character == "\t":
        return character
    if combining(character):
        return ""
    return "  " if east_asian_width(character) in "WF" else " "
