r"""Parses an instruction.

Grammar::

    instruction := sentence "->" sentence            either side may be empty, not both; at least one slot
    sentence    := (plain | slot | contrast | repeat | optional)*
    slot        := "[" slot-body "]"
    slot-body   := TYPE (":" name)? ("," key ("=" value)?)*
    contrast    := "[" slot-body "|" slot-body "]"   in the source, at most one
    repeat      := "(" sentence ")*"                 groups hold at least one slot,
    optional    := "(" sentence ")?"                 other parentheses are plain text
    plain       := any other text; escapes \[ \] \( \) \-> \||| \\
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ofacore.instruction.groups import GroupFinder, TextPart
from ofacore.instruction.lexing import tokenize, unescape
from ofacore.instruction.slots import read_bracket
from ofacore.instruction.syntax_error import InstructionError
from ofacore.instruction.tree import Contrast, Instruction, Node, OptionalGroup, Plain, Repeat, Slot

MAX_DEPTH = 16
"""How deep groups may nest."""

_ARROW_LOOKALIKE = re.compile(
    r"=>|- +>|[\u2190-\u21ff\u27f0-\u27ff\u2900-\u297f]|[\u2010-\u2015\u2212]>"
)
_NO_SENTENCE = {
    "|||": ("`|||` separates templates, and this is one instruction", r"\||| for text"),
    "]": ("this `]` closes no slot", r"\] for text"),
    "long_arrow": ("the arrow is `->`", r"-> for the arrow, or -\-> for text"),
}


def parse(text: str) -> Instruction:
    """Parse an instruction.

    Raises:
        InstructionError: The text is no instruction; it names the place and, where it can, a way out.
    """
    pieces = _pieces(text)
    arrow = _arrow(text, pieces)
    _check_slots(text, pieces, arrow)
    _check_contrasts(text, pieces, arrow)
    builder = _TreeBuilder(text, pieces, GroupFinder(text, pieces).find())
    source = builder.sentence(0, arrow)
    return Instruction(source, builder.sentence(arrow + 1, len(pieces)), text)


def _pieces(text: str) -> list[TextPart]:
    tokens = tokenize(text)
    pieces: list[TextPart] = []
    index = 0
    while (token := tokens[index]).kind != "end":
        if token.kind in _NO_SENTENCE:
            message, hint = _NO_SENTENCE[token.kind]
            raise InstructionError(message, text, token.start, hint)
        if token.kind == "[":
            node, index = read_bracket(text, tokens, index)
            pieces.append(TextPart("slot", node.start, node.end, node))
        else:
            pieces.append(TextPart(*token))
            index += 1
    return pieces


def _arrow(text: str, pieces: Sequence[TextPart]) -> int:
    """Return the number of the one arrow."""
    arrows = [number for number, piece in enumerate(pieces) if piece.kind == "->"]
    if len(arrows) > 1:
        message = "a second arrow; an instruction has one, between its source and its target"
        raise InstructionError(message, text, pieces[arrows[1]].start, r"\-> for text")
    if not arrows and not text.strip():
        raise InstructionError("the instruction is empty", text, 0, "source -> target")
    if not arrows:
        other = _ARROW_LOOKALIKE.search(text)
        position, hint = (other.start(), "->") if other else (len(text), "source -> target")
        raise InstructionError("no arrow `->` between source and target", text, position, hint)
    return arrows[0]


def _check_slots(text: str, pieces: Sequence[TextPart], arrow: int) -> None:
    if any(piece.kind == "slot" for piece in pieces):
        return
    if text.strip() == "->":
        raise InstructionError(
            "both sides of the arrow are empty", text, pieces[arrow].start, "-> [TYPE:name]"
        )
    message = "no slot: an instruction holds at least one"
    raise InstructionError(message, text, len(text), "[TYPE:name] where the data belong")


def _check_contrasts(text: str, pieces: Sequence[TextPart], arrow: int) -> None:
    contrasts = [number for number, piece in enumerate(pieces) if isinstance(piece.node, Contrast)]
    for number in contrasts:
        start, end = pieces[number].start, pieces[number].end
        if number > arrow:
            message = "a contrast stands in the source, before the arrow"
            raise InstructionError(message, text, start, f"{' '.join(text[start:end].split())} ->")
        if number != contrasts[0]:
            raise InstructionError("a second contrast; an instruction has at most one", text, start)


class _TreeBuilder:
    """Turns pieces into nodes and numbers plain texts and slots in reading order."""

    def __init__(self, text: str, pieces: Sequence[TextPart], groups: dict[int, int]) -> None:
        self._text = text
        self._pieces = pieces
        self._groups = groups
        self._position = 0

    def sentence(self, first: int, last: int, depth: int = 0) -> tuple[Node, ...]:
        """Build the nodes of ``pieces[first:last]``, inside so many groups."""
        items: list[Node] = []
        number = first
        while number < last:
            start = number
            while number < last and not self._is_node(number):
                number += 1
            items.extend(self._plain(start, number))
            if number < last:
                items.append(self._node(number, depth))
                number = self._groups.get(number, number) + 1
        return tuple(items)

    def _is_node(self, number: int) -> bool:
        return number in self._groups or self._pieces[number].kind == "slot"

    def _plain(self, first: int, last: int) -> list[Plain]:
        if first == last:
            return []
        start, end = self._pieces[first].start, self._pieces[last - 1].end
        written = self._text[start:end].strip()
        start += len(self._text[start:end]) - len(self._text[start:end].lstrip())
        return (
            [Plain(unescape(written), self._next(), start, start + len(written))] if written else []
        )

    def _node(self, number: int, depth: int) -> Node:
        piece = self._pieces[number]
        if isinstance(piece.node, Contrast):
            return replace(
                piece.node,
                left=self._numbered(piece.node.left),
                right=self._numbered(piece.node.right),
            )
        return self._numbered(piece.node) if piece.node else self._group(number, depth)

    def _group(self, number: int, depth: int) -> Repeat | OptionalGroup:
        opening, closing = self._pieces[number], self._pieces[self._groups[number]]
        if depth == MAX_DEPTH:
            raise InstructionError(
                f"groups nest deeper than {MAX_DEPTH}", self._text, opening.start
            )
        items = self.sentence(number + 1, self._groups[number], depth + 1)
        kind = Repeat if closing.kind == ")*" else OptionalGroup
        return kind(items, opening.start, closing.end)

    def _numbered(self, slot: Slot) -> Slot:
        position = self._next()
        name = slot.name if slot.named else str(position)
        return replace(slot, position=position, name=name)

    def _next(self) -> int:
        self._position += 1
        return self._position - 1
