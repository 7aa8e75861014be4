"""What an instruction means: the tree that the parser builds, and the text that the formatter makes of it."""

from __future__ import annotations

import pytest

from ofacore.instruction import (
    MAX_DEPTH,
    Contrast,
    InstructionError,
    OptionalGroup,
    Plain,
    Repeat,
    Slot,
    WrittenAttribute,
    format,
    parse,
    split_templates,
)


def _plain_texts(text: str) -> list[str]:
    return [node.text for node in parse(text).walk() if isinstance(node, Plain)]


def test_a_slot_has_a_type_a_name_and_attributes() -> None:
    instruction = parse("[IMAGE:img,augment=none,no_loss] ->")
    attributes = (WrittenAttribute("augment", "none"), WrittenAttribute("no_loss"))
    assert instruction.source == (Slot("IMAGE", "img", attributes, position=0, named=True),)
    assert instruction.target == ()


def test_an_attribute_is_looked_up_by_its_key() -> None:
    (slot,) = parse("[BOX:b,image=img,no_loss] ->").slots()
    assert slot.attribute("image") == WrittenAttribute("image", "img")
    assert slot.attribute("no_loss") == WrittenAttribute("no_loss", None)
    assert slot.attribute("img") is None


def test_blanks_and_newlines_stand_anywhere_between_the_tokens_of_a_slot() -> None:
    spaced = '[ TEXT\n : a ,\n\tmax_length = 3 , path = "a b" | IMAGE : b ] ->'
    assert parse(spaced) == parse('[TEXT:a,max_length=3,path="a b"|IMAGE:b] ->')


def test_an_unnamed_slot_is_named_by_its_number_in_reading_order() -> None:
    instruction = parse("say ([BOX] [TEXT:label])* and [IMAGE|IMAGE] -> it is [TEXT]")
    assert [(slot.name, slot.position) for slot in instruction.slots()] == [
        ("1", 1),
        ("label", 2),
        ("4", 4),
        ("5", 5),
        ("7", 7),
    ]


def test_walk_is_in_reading_order() -> None:
    kinds = [type(node) for node in parse("a ([A] ([B])?)* [C|D] -> b").walk()]
    assert kinds == [Plain, Repeat, Slot, OptionalGroup, Slot, Contrast, Slot, Slot, Plain]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0.3", "0.3"),
        ("-1e+3", "-1e+3"),
        ("data/a-b.txt", "data/a-b.txt"),
        ('""', ""),
        ('"a, b] | -> c"', "a, b] | -> c"),
        (r'"a\"b\\c\d"', r'a"b\c\d'),
        ('"two\nlines"', "two\nlines"),
    ],
)
def test_values_are_bare_or_quoted(written: str, value: str) -> None:
    instruction = parse(f"[TEXT:a,k={written}] ->")
    assert instruction.slots()[0].attributes == (WrittenAttribute("k", value),)
    assert parse(format(instruction)) == instruction


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("  two   blanks\n", "two   blanks"),
        (r"\[1\] \(a\)", "[1] (a)"),
        (r"a \-> b \||| c", "a -> b ||| c"),
        (r"\d \\d \\\[", r"\d \d \["),
        (r"tail \ ", "tail \\"),
        ("what is it (if any)?", "what is it (if any)?"),
        ("a (very (small))* star", "a (very (small))* star"),
        ("f() and g()? 2 * 3 :( :) | ||", "f() and g()? 2 * 3 :( :) | ||"),
        (r"-\-> is long", "--> is long"),
        ("a - b -- c", "a - b -- c"),
        ('he said "no', 'he said "no'),
    ],
)
def test_plain_text_is_stripped_and_unescaped(written: str, text: str) -> None:
    assert _plain_texts(f"[A] {written} ->") == [text]


def test_an_escaped_backslash_escapes_nothing() -> None:
    with pytest.raises(InstructionError, match="opens no slot"):
        parse(r"[A] \\[ ->")


def test_parentheses_around_a_slot_without_a_mark_are_text() -> None:
    assert _plain_texts("what (in [IMAGE:img]) is it ->") == ["what (in", ") is it"]


def test_groups_hold_slots_text_and_groups() -> None:
    instruction = parse("(see (below) [A:a] ([B:b] too)?)* ? -> [C:c]")
    group = instruction.source[0]
    assert isinstance(group, Repeat)
    assert group.items == (
        Plain("see (below)", 0),
        Slot("A", "a", (), 1, True),
        OptionalGroup((Slot("B", "b", (), 2, True), Plain("too", 3))),
    )
    assert instruction.source[1] == Plain("?", 4)


def test_offsets_point_at_what_was_written() -> None:
    text = r"  say \[ now  ( [ A:a , k = 1 ] )* [B:b|C:c] -> [D:d]"
    instruction = parse(text)
    written = [text[node.start : node.end] for node in instruction.walk()]
    assert written == [
        r"say \[ now",
        "( [ A:a , k = 1 ] )*",
        "[ A:a , k = 1 ]",
        "[B:b|C:c]",
        "B:b",
        "C:c",
        "[D:d]",
    ]
    first = instruction.slots()[0]
    (attribute,) = first.attributes
    assert text[attribute.start : attribute.end] == "k = 1"
    assert (text[first.type_start], text[attribute.value_start]) == ("A", "1")


def test_equality_does_not_ask_where_something_was_written() -> None:
    assert parse("[A:a]   x->") == parse("[ A : a ] x ->")
    assert hash(parse("[A:a]   x->")) == hash(parse("[ A : a ] x ->"))
    assert parse("[A:a] ->") != parse("-> [A:a]")
    assert parse("[A] ->") != parse("[A:0] ->")


@pytest.mark.parametrize(
    ("written", "formatted"),
    [
        ("->  [ TEXT : text ]", "-> [TEXT:text]"),
        ("[A|B]->", "[A|B] ->"),
        ("( [A] x )*? (if any)->y", "([A] x)* ? (if any) -> y"),
        (r"what \(odd [A] \-> ->", r"what \(odd [A] \-> ->"),
        ('[A,k="plain",l="two words"] ->', '[A,k=plain,l="two words"] ->'),
        (r"C:\dir [A] ->", r"C:\dir [A] ->"),
        (r"([A] tail\ )* ->", r"([A] tail\\)* ->"),
    ],
)
def test_format_writes_one_spelling(written: str, formatted: str) -> None:
    assert format(parse(written)) == formatted


def test_groups_nest_up_to_a_limit() -> None:
    deepest = parse("(" * MAX_DEPTH + "[A]" + ")*" * MAX_DEPTH + "->")
    assert sum(isinstance(node, Repeat) for node in deepest.walk()) == MAX_DEPTH
    with pytest.raises(InstructionError, match="nest deeper") as caught:
        parse("(" * (MAX_DEPTH + 1) + "[A]" + ")*" * (MAX_DEPTH + 1) + "->")
    assert caught.value.position == MAX_DEPTH


def test_no_depth_of_groups_exhausts_the_stack() -> None:
    with pytest.raises(InstructionError, match="nest deeper"):
        parse("(" * 20_000 + "[A]" + ")?" * 20_000 + "->")


def test_no_depth_of_parentheses_in_text_exhausts_the_stack() -> None:
    instruction = parse("(" * 20_000 + ")" * 20_000 + "[A] ->")
    assert parse(format(instruction)) == instruction


def test_bars_outside_brackets_separate_templates() -> None:
    text = '[A,k="x ||| y"] -> [B] ||| a \\||| b [A|C] ->|||-> [B]'
    templates = split_templates(text)
    assert templates == ['[A,k="x ||| y"] -> [B]', r"a \||| b [A|C] ->", "-> [B]"]
    assert [len(parse(template).slots()) for template in templates] == [2, 2, 1]


def test_an_empty_template_is_an_error() -> None:
    with pytest.raises(InstructionError, match="a template is empty") as caught:
        split_templates("-> [A] ||| ")
    assert caught.value.position == len("-> [A] |||")
