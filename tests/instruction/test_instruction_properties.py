"""Properties that hold for every text and for every tree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

from hypothesis import assume, example, given
from hypothesis import strategies as st

from ofacore.instruction import (
    Contrast,
    Instruction,
    InstructionError,
    Node,
    OptionalGroup,
    Plain,
    Repeat,
    Slot,
    WrittenAttribute,
    format,
    parse,
    split_templates,
)

FRAGMENTS = [
    "[",
    "]",
    "(",
    ")",
    ")*",
    ")?",
    "*",
    "?",
    "->",
    "-",
    ">",
    "|",
    "|||",
    "\\",
    '"',
    ",",
    ":",
    "=",
    " ",
    "\n",
    "\t",
    "\u2028",
    "A",
    "b",
    "1",
    "_",
    "é",
    "k=",
    "[A]",
    "[B:b]",
    "[A:a,k=v]",
    '[A,k="x y"]',
    "[A|B]",
    "([A])*",
    "([B] x)?",
    " -> ",
    "\\[",
    "\\(",
    "\\->",
    "\\|||",
    "()*",
    "text",
]
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=20).map("".join) | st.text(max_size=40)
LINES = [
    '[IMAGE:img,augment=none] which "region" (if any)? ([BOX:b,image=img] [TEXT:t])* -> ([TEXT:cap,sep="a, b"])?',
    r"\[1\] [A:a|B:b,k] f(x) \-> y -> say [C] [D:d,max_length=-1.5]",
]


def _error(read: Callable[[str], object], text: str) -> InstructionError | None:
    try:
        read(text)
    except InstructionError as error:
        return error
    return None


@st.composite
def edited_lines(draw: st.DrawFn) -> str:
    """Draw a correct instruction with a stretch replaced by some fragment."""
    line = draw(st.sampled_from(LINES))
    start = draw(st.integers(0, len(line)))
    end = draw(st.integers(start, min(len(line), start + 3)))
    return line[:start] + draw(st.sampled_from(["", *FRAGMENTS])) + line[end:]


@given(TEXTS | edited_lines())
@example("([A]->([B])*")
@example('[A,k="')
@example("[A:\\")
def test_any_text_parses_or_raises_an_error_with_a_position_inside(text: str) -> None:
    for error in (_error(parse, text), _error(split_templates, text)):
        if error is not None:
            assert 0 <= error.position <= len(text)
            assert (error.line, error.column) >= (1, 1)
            assert str(error).startswith(f"line {error.line}, column {error.column}: ")


CORRECT = [
    "[A]",
    "[B:b]",
    '[A:a,k="x \\" ]"]',
    "([A])*",
    "( [B] (c) )?",
    "(",
    ")",
    "* ?",
    "- |",
    ">",
    "\\",
    "\\[",
    "\\->",
    "x",
    "\n ",
]
SENTENCES = st.lists(st.sampled_from(CORRECT), max_size=8).map("".join)
WHOLE = st.builds("{}->{}".format, SENTENCES, SENTENCES)


@given(WHOLE | edited_lines())
def test_formatting_what_parses_keeps_the_tree(text: str) -> None:
    if _error(parse, text) is not None:
        return
    instruction = parse(text)
    assert parse(format(instruction)) == instruction
    assert format(parse(format(instruction))) == format(instruction)
    assert split_templates(format(instruction)) == [format(instruction)]


names = st.text("AZaz09_", min_size=1, max_size=4)
values = (
    st.none()
    | st.text("aZ0_.+-/", min_size=1, max_size=4)
    | st.text(max_size=6)
    | st.text('"\\->|]', max_size=4)
)
attributes = st.lists(
    st.builds(WrittenAttribute, names, values),
    max_size=3,
    unique_by=lambda attribute: attribute.key,
).map(tuple)
plain_texts = (
    (st.text('ab \\[]()*?->|"\n', max_size=10) | st.text(max_size=5)).map(str.strip).filter(bool)
)
plains = st.builds(Plain, plain_texts, st.just(0))
slots = st.builds(
    Slot,
    st.sampled_from(["A", "TEXT", "X_1"]),
    names,
    attributes,
    position=st.just(0),
    named=st.booleans(),
)


def _separate(nodes: list[Node]) -> tuple[Node, ...]:
    """Drop every plain text that follows another one: the parser would read the two as one."""
    pairs = zip([None, *nodes], nodes, strict=False)
    return tuple(
        node
        for before, node in pairs
        if not (isinstance(before, Plain) and isinstance(node, Plain))
    )


def _groups(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    some = st.tuples(st.lists(nodes, max_size=2), slots, st.lists(nodes, max_size=2))
    items = some.map(lambda parts: _separate([*parts[0], parts[1], *parts[2]]))
    return st.builds(Repeat, items) | st.builds(OptionalGroup, items)


nodes = st.recursive(plains | slots, _groups, max_leaves=6)
sentences = st.lists(nodes, max_size=4)
contrasts = st.lists(st.builds(Contrast, slots, slots), max_size=1)


def _number(node: Node, numbers: count[int]) -> Node:
    """Number plain texts and slots in reading order."""
    match node:
        case Plain():
            return replace(node, position=next(numbers))
        case Slot():
            position = next(numbers)
            return replace(node, position=position, name=node.name if node.named else str(position))
        case Contrast():
            left, right = (_number(side, numbers) for side in (node.left, node.right))
            assert isinstance(left, Slot)
            assert isinstance(right, Slot)
            return Contrast(left, right)
        case Repeat() | OptionalGroup():
            return replace(node, items=tuple(_number(item, numbers) for item in node.items))


@given(sentences, contrasts, sentences, sentences)
def test_formatting_a_tree_keeps_it(
    before: list[Node], contrast: list[Node], after: list[Node], target: list[Node]
) -> None:
    numbers = count()
    sides = [_separate([*before, *contrast, *after]), _separate(target)]
    source, written = (tuple(_number(node, numbers) for node in side) for side in sides)
    instruction = Instruction(source, written)
    assume(instruction.slots())
    assert parse(format(instruction)) == instruction
