"""Reads what stands between brackets: a slot, or a contrast of two."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from ofacore.instruction.bracket import ITEM_END, Bracket
from ofacore.instruction.lexing import NAME, TYPE, Token, quote, unquote
from ofacore.instruction.syntax_error import InstructionError
from ofacore.instruction.tree import Contrast, Slot, WrittenAttribute


def read_bracket(text: str, tokens: Sequence[Token], opening: int) -> tuple[Slot | Contrast, int]:
    """Read the bracket ``tokens[opening]``.

    Returns:
        The slots, not numbered yet (position 0, an unnamed one's name empty), and the number of the token behind.

    Raises:
        InstructionError: The bracket holds no slot.
    """
    at = Bracket(text, tokens, opening)
    left = _body(at)
    right = _body(at) if at.accept("|") else None
    if at.peek().kind == "|":
        bar = at.peek().start
        raise at.error("a contrast has two sides, here is a third", bar, at.cut(bar))
    start, end = at.opening.start, at.take().end
    return (
        Contrast(left, right, start, end) if right else replace(left, start=start, end=end)
    ), at.index


def _body(at: Bracket) -> Slot:
    kind = _type(at)
    name = _word(at, "name") if at.accept(":") else None
    written = at.spelling(name) if name else ""
    return Slot(
        type=at.spelling(kind),
        name=written,
        attributes=_attributes(at),
        position=0,
        named=name is not None,
        start=kind.start,
        end=at.peek(-1).end,
        type_start=kind.start,
    )


def _type(at: Bracket) -> Token:
    token = at.peek()
    if token.kind != "word" or not TYPE.fullmatch(at.spelling(token)):
        raise _no_type(at)
    at.take()
    if at.peek().kind in (":", *ITEM_END):
        return token
    at.check_closed()
    rest, end = at.written()
    hint = at.repaired(token.end, end, f":{_as_name(rest) or 'name'}")
    raise at.error(
        f"`:` or `,` expected after the type `{at.spelling(token)}`", at.peek().start, hint
    )


def _no_type(at: Bracket) -> InstructionError:
    token, opening = at.peek(), at.opening.start
    if at.unclosed():
        hint = "( ... )* to repeat slots" if token.kind == "[" else "[TYPE:name]"
        return at.error("this `[` opens no slot", opening, rf"{hint}, or \[ for text")
    if token.kind == "]" and at.peek(-1) == at.opening:
        return at.error("an empty slot", opening, r"[TYPE:name], or \[\] for text")
    if token.kind in (":", *ITEM_END):
        return at.error(
            "a slot type is missing", token.start, at.repaired(token.start, token.start, "TYPE")
        )
    capitals = re.sub(r"[^A-Z0-9_]", "_", at.spelling(token).upper())
    text = f"{at.literal()} for text"
    if (
        token.kind != "word"
        or not TYPE.fullmatch(capitals)
        or at.peek(1).kind not in (":", *ITEM_END)
    ):
        return at.error("this `[` opens no slot", opening, text)
    hint = at.repaired(token.start, token.end, capitals)
    hint = hint if at.peek(1).kind == ":" else f"{hint}, or {text}"
    return at.error("a slot type is written in capitals, digits and `_`", token.start, hint)


def _attributes(at: Bracket) -> tuple[WrittenAttribute, ...]:
    found: dict[str, WrittenAttribute] = {}
    while comma := at.accept(","):
        attribute = _attribute(at)
        if attribute.key in found:
            hint = at.repaired(comma.start, attribute.end, "")
            raise at.error(f"`{attribute.key}` is given twice", attribute.start, hint)
        found[attribute.key] = attribute
    return tuple(found.values())


def _attribute(at: Bracket) -> WrittenAttribute:
    word = _word(at, "key")
    key = at.spelling(word)
    if not at.accept("="):
        return WrittenAttribute(key, None, word.start, word.end, word.start)
    token = _value(at, key)
    value = unquote(at.spelling(token)) if token.kind == "quoted" else at.spelling(token)
    return WrittenAttribute(key, value, word.start, token.end, token.start)


def _word(at: Bracket, role: str) -> Token:
    """Take a name or a key, and see that nothing odd follows it."""
    token, after = at.peek(), at.peek(1)
    if token.kind == "word" and NAME.fullmatch(at.spelling(token)):
        at.take()
        if after.kind in ITEM_END or (after.kind == "=" and role == "key"):
            return token
        at.check_closed()
        at.index -= 1
    at.check_closed()
    if token.kind in ITEM_END and role == "key":
        raise at.error(
            "an attribute is missing",
            token.start,
            at.repaired(at.peek(-1).start, at.peek(-1).end, ""),
        )
    if token.kind in ("=", *ITEM_END):
        raise at.error(
            f"a {role} is missing here", token.start, at.repaired(token.start, token.start, role)
        )
    raise _bad_word(at, role)


def _bad_word(at: Bracket, role: str) -> InstructionError:
    token, after = at.peek(), at.peek(1)
    written, end = at.written("=")
    if bad := re.search(r"[^A-Za-z0-9_\s]", written):
        hint = at.repaired(token.start, end, _as_name(written) or role)
        message = f"a {role} holds letters (A-Z, a-z), digits and `_` only"
        if role == "name":
            message += "; data.columns maps it to another column"
        return at.error(message, token.start + bad.start(), hint)
    if after.kind == "=":
        hint = at.repaired(token.start, token.start, "name,")
        return at.error("`=` follows a key, and this is the name", after.start, hint)
    return _missing_comma(at, token, after)


def _value(at: Bracket, key: str) -> Token:
    token, after = at.peek(), at.peek(1)
    if token.kind in ("word", "quoted"):
        at.take()
        if after.kind in ITEM_END:
            return token
        at.check_closed()
        at.index -= 1
    at.check_closed()
    if token.kind in ITEM_END:
        hint = f"{at.repaired(token.start, token.start, 'value')}, or {key} alone"
        raise at.error("a value is missing after `=`", token.start, hint)
    raise _missing_comma(at, token, after) if token.kind == "quoted" else _bad_value(at)


def _bad_value(at: Bracket) -> InstructionError:
    token, after = at.peek(), at.peek(1)
    written, end = at.written()
    bad = after if token.kind == "word" else token
    hint = at.repaired(token.start, end, quote(written.strip("'")))
    if bad.kind == "word":
        hint += f" or {at.repaired(token.end, bad.start, ',')}"
    return at.error(
        "a value with other than letters, digits and `_.+-/` needs quotes", bad.start, hint
    )


def _missing_comma(at: Bracket, token: Token, after: Token) -> InstructionError:
    message = f"a comma is missing before `{at.spelling(after)}`"
    return at.error(message, after.start, at.repaired(token.end, after.start, ","))


def _as_name(written: str) -> str:
    """The same in ASCII, letters without their accents."""
    parts = unicodedata.normalize("NFKD", written)
    plain = "".join(part for part in parts if not unicodedata.combining(part))
    return re.sub(r"[^A-Za-z0-9_]+", "_", plain).strip("_")
