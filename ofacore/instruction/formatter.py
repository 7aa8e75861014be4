"""Writes a syntax tree as text."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ofacore.instruction.lexing import BARE_VALUE, EMPTY_REPEAT, quote
from ofacore.instruction.tree import (
    Contrast,
    Instruction,
    Node,
    OptionalGroup,
    Plain,
    Repeat,
    Slot,
    WrittenAttribute,
)

_SPECIAL = re.compile(r"[\[\]]|->|\|\|\||\\(?=[\\\[\]()]|->|\|\|\||\Z)")


def format(instruction: Instruction) -> str:
    """Write an instruction so that ``parse(format(x)) == x`` for every ``x`` that ``parse`` returns."""
    return f"{_sentence(instruction.source)} -> {_sentence(instruction.target)}".strip()


def _sentence(items: Iterable[Node]) -> str:
    return " ".join(map(_node, items))


def _node(node: Node) -> str:
    match node:
        case Plain():
            return _plain(node.text)
        case Slot():
            return f"[{_slot_body(node)}]"
        case Contrast():
            return f"[{_slot_body(node.left)}|{_slot_body(node.right)}]"
        case Repeat():
            return f"({_sentence(node.items)})*"
        case OptionalGroup():
            return f"({_sentence(node.items)})?"


def _slot_body(slot: Slot) -> str:
    head = f"{slot.type}:{slot.name}" if slot.named else slot.type
    return ",".join([head, *map(_attribute, slot.attributes)])


def _attribute(attribute: WrittenAttribute) -> str:
    if attribute.value is None:
        return attribute.key
    return f"{attribute.key}={attribute.value if BARE_VALUE.fullmatch(attribute.value) else quote(attribute.value)}"


def _plain(text: str) -> str:
    """Escape what is more than text to the parser; parentheses that balance within the text stay as they are."""
    escaped = {match.start() for match in _SPECIAL.finditer(text)} | _loose_parentheses(text)
    return "".join(
        "\\" + character if at in escaped else character for at, character in enumerate(text)
    )


def _loose_parentheses(text: str) -> set[int]:
    """Return where parentheses have no partner within the text, or look like a repeat of nothing."""
    loose: set[int] = set()
    opened: list[int] = []
    for match in re.finditer(r"[()]", text):
        at = match.start()
        if match[0] == "(":
            opened.append(at)
        elif not opened:
            loose.add(at)
        elif EMPTY_REPEAT.match(text, opened[-1]):
            loose |= {opened.pop(), at}
        else:
            opened.pop()
    return loose | set(opened)
