"""Tells the parentheses of groups from those of plain text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from ofacore.instruction.lexing import EMPTY_REPEAT
from ofacore.instruction.syntax_error import InstructionError
from ofacore.instruction.tree import Contrast, Slot

_DETACHED_MARK = re.compile(r"\s+([*?])")
_SHORT = 60


@dataclass(frozen=True)
class TextPart:
    """A stretch of a sentence: ``slot`` with its node, ``->``, ``(``, ``)``, ``)*``, ``)?``, or other text."""

    kind: str
    start: int
    end: int
    node: Slot | Contrast | None = None


class GroupFinder:
    """Pairs parentheses over the whole instruction; a pair that holds a slot and ends in a mark is a group."""

    def __init__(self, text: str, pieces: Sequence[TextPart]) -> None:
        self._text = text
        self._pieces = pieces
        self._slots = list(accumulate((piece.kind == "slot" for piece in pieces), initial=0))
        self._arrow = next(number for number, piece in enumerate(pieces) if piece.kind == "->")

    def find(self) -> dict[int, int]:
        """Return the numbers of the pieces that open groups, and of those that close them.

        Raises:
            InstructionError: A parenthesis is neither part of a group nor surely text, or a slot is marked like one.
        """
        opened: list[int] = []
        groups: dict[int, int] = {}
        for number, piece in enumerate(self._pieces):
            if piece.kind == "slot" and self._text.startswith("*", piece.end):
                raise self._attached_mark(piece)
            if piece.kind == "(":
                opened.append(number)
            elif piece.kind.startswith(")"):
                if not opened:
                    self._check_stray(number)
                elif self._is_group(opened[-1], number):
                    groups[opened.pop()] = number
                else:
                    opened.pop()
        self._check_left_open(opened)
        return groups

    def _is_group(self, first: int, last: int) -> bool:
        opening, closing = self._pieces[first], self._pieces[last]
        if self._slots[first] == self._slots[last]:
            if EMPTY_REPEAT.match(self._text, opening.start):
                raise self._error(
                    "a repeat of nothing", opening, r"([TYPE:name])*, or \(\)* for text"
                )
            return False
        if first < self._arrow < last:
            raise self._error(
                "a group cannot reach across the arrow",
                opening,
                r"( ... )* -> ( ... )*, or \( for text",
            )
        if closing.kind == ")" and (mark := _DETACHED_MARK.match(self._text, closing.end)):
            raise self._detached_mark(opening, closing, mark)
        return closing.kind != ")"

    def _attached_mark(self, slot: TextPart) -> InstructionError:
        written = self._text[slot.start : slot.end]
        written = "[ ... ]" if len(written) > _SHORT or "\n" in written else written
        message = "is this `*` text, or the mark of a repeat? Only groups are repeated"
        return InstructionError(
            message, self._text, slot.end, f"({written})* to repeat it, or {written} * for text"
        )

    def _detached_mark(
        self, opening: TextPart, closing: TextPart, mark: re.Match[str]
    ) -> InstructionError:
        inside = self._text[opening.end : closing.start]
        inside = " ... " if len(inside) > _SHORT or "\n" in inside else inside
        hint = rf"({inside}){mark[1]} for a group, or \({inside}\) {mark[1]} for text"
        message = f"is this `{mark[1]}` text, or the mark of the group before it?"
        return InstructionError(message, self._text, mark.start(1), hint)

    def _check_stray(self, number: int) -> None:
        piece = self._pieces[number]
        if piece.kind != ")" and self._slots[number]:
            hint = rf"( ... {piece.kind} for a group, or \{piece.kind} for text"
            raise self._error("this group is never opened: no `(` belongs to it", piece, hint)

    def _check_left_open(self, opened: Sequence[int]) -> None:
        for number in opened:
            if self._slots[number] < self._slots[-1]:
                hint = r"( ... )* or ( ... )? for a group, or \( for text"
                raise self._error(
                    "a slot follows this `(`, which is never closed", self._pieces[number], hint
                )

    def _error(self, message: str, piece: TextPart, hint: str) -> InstructionError:
        return InstructionError(message, self._text, piece.start, hint)
