"""SQL taken apart: words, and the clauses that they stand in. No grammar: what SQLite refuses is read as well."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_WORD = re.compile(
    r"""(?P<text>'(?:[^']|'')*')
    | (?P<name>"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\])
    | (?P<word>[^\W\d]\w*)
    | (?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)
    | (?P<sign><>|!=|<=|>=|==|\|\||[^\s\w])""",
    re.VERBOSE,
)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_SIGNS = {"<>": "!=", "==": "="}
_CLAUSES = ("select", "from", "where", "group", "having", "order", "limit", "offset")
_SETS = ("union", "intersect", "except")
_JOINS = frozenset(("join", "inner", "left", "right", "full", "outer", "cross", "natural"))
_INNER = frozenset(("inner", "cross", "outer"))
"""Words of a join that add nothing to what is joined with what."""

Words = tuple[str, ...]


class SqlError(ValueError):
    """A text that is no query."""


@dataclass(frozen=True)
class Clauses:
    """One SELECT, its clauses as sets of items; the order of ORDER BY counts."""

    select: frozenset[str]
    source: frozenset[str]
    """Tables and conditions of joins."""
    where: frozenset[frozenset[str]]
    """Conditions joined by AND, in alternatives joined by OR."""
    group: frozenset[str]
    having: frozenset[frozenset[str]]
    order: tuple[str, ...]
    limit: frozenset[str]
    combined: str = ""
    """How it is combined with the SELECT before it, as ``union all``."""


def clauses(sql: str) -> tuple[Clauses, ...]:
    """Every SELECT of a query; those in brackets are part of the clause that they stand in.

    Raises:
        SqlError: It does not begin with SELECT, or its brackets do not match.
    """
    words = _words(sql)
    if not words or words[0] != "select":
        raise SqlError("a query begins with SELECT")
    found, combined = [], ""
    for part in _cut(words, _SETS):
        if part[0] in _SETS:
            keep = 2 if part[1:2] == ("all",) else 1
            combined, part = " ".join(part[:keep]), part[keep:]
        found.append(_clauses_of(part, combined))
    return tuple(found)


def is_ordered(sql: str) -> bool:
    """Whether a query as a whole says ORDER BY, not only a part in brackets."""
    words, depth = _words(sql), 0
    for place, word in enumerate(words):
        depth += _depth(word)
        if depth == 0 and words[place : place + 2] == ("order", "by"):
            return True
    return False


def _words(sql: str) -> Words:
    """Words in small letters, texts as they are, signs of one meaning alike; without comments."""
    text = _without_comments(sql).strip().rstrip(";").strip()
    return tuple(_normal(match) for match in _WORD.finditer(text))


def _without_comments(sql: str) -> str:
    """Comments become blanks; what looks like one inside of a text stays."""
    parts = re.split(r"('(?:[^']|'')*')", sql)
    return "".join(part if part.startswith("'") else _COMMENT.sub(" ", part) for part in parts)


def _normal(match: re.Match[str]) -> str:
    word = match.group()
    if match["text"]:
        return word
    if match["name"]:
        inside = word[1:-1].lower()
        return inside if inside.isidentifier() else f'"{inside}"'
    return _SIGNS.get(word, word.lower())


def _cut(words: Words, at: Iterable[str]) -> list[Words]:
    """Parts that begin with one of the words given, outside of brackets; the first part begins where it does."""
    if not words:
        return []
    marks, parts, depth = frozenset(at), [[words[0]]], _depth(words[0])
    for word in words[1:]:
        if depth == 0 and word in marks:
            parts.append([])
        parts[-1].append(word)
        depth += _depth(word)
        if depth < 0:
            raise SqlError("a bracket is closed that was not opened")
    if depth:
        raise SqlError("a bracket is not closed")
    return [tuple(part) for part in parts]


def _depth(word: str) -> int:
    return {"(": 1, ")": -1}.get(word, 0)


def _clauses_of(words: Words, combined: str) -> Clauses:
    if not words or words[0] != "select":
        raise SqlError("behind UNION, INTERSECT and EXCEPT stands SELECT")
    found: dict[str, Words] = {}
    for part in _cut(words, _CLAUSES):
        skipped = 2 if part[1:2] == ("by",) else 1
        found[part[0]] = found.get(part[0], ()) + part[skipped:]
    names = _aliases(found.get("from", ()))
    told = {clause: _renamed(part, names) for clause, part in found.items()}
    limits = [" ".join(told[name]) for name in ("limit", "offset") if name in told]
    return Clauses(
        frozenset(_items(told["select"])),
        frozenset(_sources(told.get("from", ()))),
        _conditions(told.get("where", ())),
        frozenset(_items(told.get("group", ()))),
        _conditions(told.get("having", ())),
        tuple(item.removesuffix(" asc") for item in _items(told.get("order", ()))),
        frozenset(limits),
        combined,
    )


def _items(words: Words) -> list[str]:
    """What stands between commas outside of brackets."""
    if not words:
        return []
    first, *others = _cut(words, (",",))
    return [" ".join(first), *(" ".join(part[1:]) for part in others)]


def _conditions(words: Words) -> frozenset[frozenset[str]]:
    """Alternatives of conditions; the AND of a BETWEEN belongs to it."""
    if not words:
        return frozenset()
    alternatives = [_behind(part, ("or",)) for part in _cut(words, ("or",))]
    return frozenset(frozenset(_joined(part)) for part in alternatives if part)


def _joined(words: Words) -> Iterator[str]:
    pending: Words = ()
    for part in _cut(words, ("and",)):
        pending += part if pending else _behind(part, ("and",))
        if "between" in pending and "and" not in pending[_last(pending, "between") :]:
            continue
        yield " ".join(pending)
        pending = ()
    if pending:
        yield " ".join(pending)


def _last(words: Words, word: str) -> int:
    return len(words) - 1 - words[::-1].index(word)


def _behind(part: Words, marks: Sequence[str]) -> Words:
    return part[1:] if part[0] in marks else part


@dataclass(frozen=True)
class _Source:
    """One table of FROM."""

    kind: str
    """Of its join: ``left``, ``natural`` ...; empty for an inner one."""
    table: Words
    """With its alias, if it has one."""
    condition: Words

    @property
    def alias(self) -> str:
        """Its other name; empty if it has none, or is a SELECT in brackets."""
        return self.table[-1] if len(self.table) > 1 and self.table[0] != "(" else ""


def _source_parts(words: Words) -> Iterator[_Source]:
    if not words:
        return
    kind = ""
    for part in _cut(words, (",", "join")):
        table = list(_behind(part, (",", "join")))
        following = []
        while table and table[-1] in _JOINS:
            following.append(table.pop())
        if table:
            named, *conditions = _cut(tuple(table), ("on", "using"))
            joined = tuple(word for condition in conditions for word in condition)
            yield _Source(kind, named, joined)
        kind = " ".join(word for word in reversed(following) if word not in _INNER)


def _aliases(words: Words) -> dict[str, str]:
    """Alias -> table, where a table has one."""
    return {part.alias: part.table[0] for part in _source_parts(words) if part.alias}


def _renamed(words: Words, names: dict[str, str]) -> Words:
    """Words with tables in the place of their aliases; ``table . column`` as one word."""
    found: list[str] = []
    for place, word in enumerate(words):
        name = names.get(word, word) if _next(words, place) == "." else word
        if found and (name == "." or found[-1].endswith(".")):
            found[-1] += name
        else:
            found.append(name)
    return tuple(found)


def _next(words: Words, place: int) -> str:
    return words[place + 1] if place + 1 < len(words) else ""


def _sources(words: Words) -> Iterator[str]:
    """Tables by their names, with how they are joined, and the conditions of the joins."""
    for part in _source_parts(words):
        table = part.table[0] if part.alias else " ".join(part.table)
        yield f"{part.kind} {table}".strip()
        if part.condition:
            yield from (_even(item) for item in _joined(_behind(part.condition, ("on",))))


def _even(condition: str) -> str:
    """The two sides of an equation in one order."""
    sides = condition.split(" = ")
    return " = ".join(sorted(sides)) if len(sides) == 2 else condition
