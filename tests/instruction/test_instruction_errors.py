"""What a mistake looks like: the place, the caret and the way out."""

from __future__ import annotations

import pickle

import pytest

from ofacore.instruction import InstructionError, caret, parse, split_templates


def _mistake(text: str) -> InstructionError:
    with pytest.raises(InstructionError) as caught:
        parse(text)
    return caught.value


PICTURES = [
    r"""
line 1, column 6: a slot type is written in capitals, digits and `_`
  see [text:x] -> [TEXT:y]
       ^
try: [TEXT:x]
""",
    r"""
line 1, column 11: a name holds letters (A-Z, a-z), digits and `_` only; data.columns maps it to another column
  [TEXT:inglés] -> [TEXT:b]
            ^
try: [TEXT:ingles]
""",
    r"""
line 1, column 5: this `[` opens no slot
  see [figure 1] -> [TEXT:y]
      ^
try: \[figure 1\] for text
""",
    r"""
line 1, column 17: is this `*` text, or the mark of the group before it?
  what ([TEXT:a]) * -> [TEXT:b]
                  ^
try: ([TEXT:a])* for a group, or \([TEXT:a]\) * for text
""",
    r"""
line 1, column 9: is this `*` text, or the mark of a repeat? Only groups are repeated
  [TEXT:a]* what -> [TEXT:b]
          ^
try: ([TEXT:a])* to repeat it, or [TEXT:a] * for text
""",
    r"""
line 1, column 6: a slot follows this `(`, which is never closed
  what ([TEXT:a] is -> [TEXT:b]
       ^
try: ( ... )* or ( ... )? for a group, or \( for text
""",
    r"""
line 1, column 1: a group cannot reach across the arrow
  ([TEXT:a] -> [TEXT:b])*
  ^
try: ( ... )* -> ( ... )*, or \( for text
""",
    r"""
line 1, column 10: the arrow is `->`
  [TEXT:a] --> [TEXT:b]
           ^
try: -> for the arrow, or -\-> for text
""",
    r"""
line 1, column 8: this slot is not closed: `]` is missing here
  [TEXT:a -> [TEXT:b]
         ^
try: [TEXT:a]
""",
    r"""
line 1, column 14: a value with other than letters, digits and `_.+-/` needs quotes
  [TEXT:a,sep=x:y] -> [TEXT:b]
               ^
try: [TEXT:a,sep="x:y"]
""",
    r"""
line 1, column 11: this quote is never closed
  [TEXT:a,k="x] -> [TEXT:b]
            ^
try: [TEXT:a,k="x"]
""",
    r"""
line 1, column 10: a contrast has two sides, here is a third
  [A:a|B:b |C:c] ->
           ^
try: [A:a|B:b ]
""",
]


@pytest.mark.parametrize(
    "picture", PICTURES, ids=[picture.split("\n")[2].strip() for picture in PICTURES]
)
def test_the_error_shows_place_and_way_out(picture: str) -> None:
    text = picture.split("\n")[2].removeprefix("  ")
    assert f"\n{_mistake(text)}\n" == picture


MISTAKES = [
    # text up to the caret, text behind it, part of the message, hint
    ("", "", "the instruction is empty", "source -> target"),
    ("[A]", "", "no arrow", "source -> target"),
    ("[A] ", "=> [B]", "no arrow", "->"),
    ("[A] ", "\N{RIGHTWARDS ARROW} [B]", "no arrow", "->"),
    ("[A] -> [B] ", "-> [C]", "a second arrow", r"\-> for text"),
    ("", "->", "both sides", "-> [TYPE:name]"),
    ("a (b)? -> c", "", "no slot", "[TYPE:name] where the data belong"),
    ("[A] ", "||| [B] ->", "separates templates", r"\||| for text"),
    ("[A] ", "] ->", "closes no slot", r"\] for text"),
    ("[A] ", "[ ->", "opens no slot", r"[TYPE:name], or \[ for text"),
    ("", "[] -> [A]", "empty slot", r"[TYPE:name], or \[\] for text"),
    ("", "[1] -> [A]", "opens no slot", r"\[1\] for text"),
    ("", "[[BOX][TEXT]]* -> [A]", "opens no slot", r"( ... )* to repeat slots, or \[ for text"),
    ("[", "note] [A] ->", "capitals", r"[NOTE], or \[note\] for text"),
    ("[", ":x] ->", "type is missing", "[TYPE:x]"),
    ("[A|", "] ->", "type is missing", "[A|TYPE]"),
    ("[A ", "b] ->", "after the type `A`", "[A:b]"),
    ("[TEXT:", "] ->", "name is missing", "[TEXT:name]"),
    ("[TEXT:a", "-b] ->", "a name holds", "[TEXT:a_b]"),
    ("[TEXT:a ", "b] ->", "comma is missing before `b`", "[TEXT:a,b]"),
    ("[TEXT:a", "=3] ->", "`=` follows a key", "[TEXT:name,a=3]"),
    ("[TEXT:a,", ",x] ->", "an attribute is missing", "[TEXT:a,x]"),
    ("[TEXT:a,x,", "] ->", "an attribute is missing", "[TEXT:a,x]"),
    ("[TEXT:a,", "=3] ->", "key is missing", "[TEXT:a,key=3]"),
    ("[TEXT:a,max", "-length=3] ->", "a key holds", "[TEXT:a,max_length=3]"),
    ("[TEXT:a,k=", "] ->", "value is missing", "[TEXT:a,k=value], or k alone"),
    ("[TEXT:a,k=", "'x y'] ->", "needs quotes", '[TEXT:a,k="x y"]'),
    ("[TEXT:a,k=C", ":\\x] ->", "needs quotes", r'[TEXT:a,k="C:\\x"]'),
    ("[TEXT:a,k=x", "->y] ->", "needs quotes", '[TEXT:a,k="x->y"]'),
    ("[TEXT:a,k=x ", "y] ->", "needs quotes", '[TEXT:a,k="x y"] or [TEXT:a,k=x,y]'),
    ('[TEXT:a,k="x" ', "y] ->", "comma is missing", '[TEXT:a,k="x",y]'),
    ("[TEXT:a,k=", '"x] -> [TEXT:b,l="y"]', "quote is never closed", '[TEXT:a,k="x"]'),
    ("[TEXT:a,k=1,", "k=2] ->", "`k` is given twice", "[TEXT:a,k=1]"),
    ("-> ", "[A|B]", "contrast stands in the source", "[A|B] ->"),
    ("[A|B] ", "[C|D] ->", "second contrast", None),
    ("f", "()* [A] ->", "repeat of nothing", r"([TYPE:name])*, or \(\)* for text"),
    ("([A]) ", "? ->", "is this `?` text", r"([A])? for a group, or \([A]\) ? for text"),
    ("[A]", ")* ->", "never opened", r"( ... )* for a group, or \)* for text"),
    ("[A] ", "( -> [B]", "never closed", r"( ... )* or ( ... )? for a group, or \( for text"),
]


@pytest.mark.parametrize(
    ("before", "behind", "message", "hint"), MISTAKES, ids=[a + "^" + b for a, b, *_ in MISTAKES]
)
def test_the_caret_stands_where_the_mistake_is(
    before: str, behind: str, message: str, hint: str | None
) -> None:
    error = _mistake(before + behind)
    assert error.position == len(before)
    assert message in error.message
    assert error.hint == hint


SLOT_HINTS = [
    (a + b, hint) for a, b, _, hint in MISTAKES if a.startswith("[") and hint and hint.endswith("]")
]


@pytest.mark.parametrize(("text", "hint"), SLOT_HINTS, ids=[text for text, _ in SLOT_HINTS])
def test_a_slot_that_a_hint_offers_parses(text: str, hint: str) -> None:
    for offer in hint.split(" or "):
        assert parse(f"{offer} ->").slots()


@pytest.mark.parametrize("mark", ["*", "?"])
def test_both_spellings_offered_for_a_detached_mark_parse(mark: str) -> None:
    hint = _mistake(f"([A:a]) {mark} ->").hint
    assert hint is not None
    group, text = hint.removesuffix(" for text").split(" for a group, or ")
    assert len(parse(f"{group} ->").source) == 1
    assert len(parse(f"{text} ->").source) == 3


def test_the_error_holds_its_fields_and_survives_pickling() -> None:
    error = _mistake("first [A:a]\n[b:c] ->")
    copy: InstructionError = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, ValueError)
    for each in (error, copy):
        assert (each.line, each.column, each.position) == (2, 2, 13)
        assert (each.text, each.hint) == ("first [A:a]\n[b:c] ->", "[B:c]")
        assert str(each).startswith("line 2, column 2: a slot type")
        assert "\n  [b:c] ->\n   ^\n" in str(each)


def test_caret_without_a_hint_has_no_last_line() -> None:
    assert caret("[IMGE:x] ->", 1, "unknown type IMGE") == (
        "line 1, column 2: unknown type IMGE\n  [IMGE:x] ->\n   ^"
    )


@pytest.mark.parametrize(
    ("before", "padding"),
    [("\t", "\t"), ("\N{CJK UNIFIED IDEOGRAPH-65E5}", "  "), ("e\u0301", " ")],
)
def test_the_caret_stays_below_its_character(before: str, padding: str) -> None:
    assert caret(f"{before}x", len(before), "here").split("\n")[2] == f"  {padding}^"


def test_control_characters_are_not_sent_to_the_terminal() -> None:
    picture = caret("a\x1b[2Jb\r\n", 1, "here")
    assert picture.split("\n")[1:] == ["  a\N{REPLACEMENT CHARACTER}[2Jb", "   ^"]


@pytest.mark.parametrize("position", [0, 5, 70, 500, 995, 1000])
def test_a_long_line_is_cut_around_the_caret(position: int) -> None:
    text = "".join(chr(ord("a") + number % 26) for number in range(1000))
    _, shown, pointer = caret(text, position, "here").split("\n")
    assert len(shown) <= 2 + 3 + 100 + 3
    assert shown[len(pointer) - 1 : len(pointer)] == text[position : position + 1]


def test_an_empty_list_of_templates_is_an_error_without_bars() -> None:
    with pytest.raises(InstructionError) as caught:
        split_templates(" ")
    assert caught.value.hint is None
