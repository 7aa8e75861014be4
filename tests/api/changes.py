"""What differs between two descriptions of the public API, and whether plugins break by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Described = Mapping[str, Any]
_BY_KEYWORD = ("positional or keyword", "keyword-only")


@dataclass(frozen=True)
class Change:
    """One difference."""

    path: str
    what: str
    breaking: bool

    def __str__(self) -> str:
        return f"{'breaking' if self.breaking else 'addition'}: {self.path} {self.what}"


def compare(old: Described, new: Described) -> list[Change]:
    """Every difference of modules -> names -> descriptions."""
    changes: list[Change] = []
    for module in old.keys() | new.keys():
        before, after = old.get(module, {}), new.get(module, {})
        changes += _names(module, before, after, added_breaks=False)
    return sorted(changes, key=lambda change: (not change.breaking, change.path))


def _names(path: str, old: Described, new: Described, added_breaks: bool) -> Iterator[Change]:
    """Names that came, went or changed; what is added to a protocol breaks those who implement it."""
    for name in old.keys() - new.keys():
        yield Change(f"{path}.{name}", "is gone", True)
    for name in new.keys() - old.keys():
        yield Change(f"{path}.{name}", "is new", added_breaks and not new[name].get("default"))
    for name in old.keys() & new.keys():
        yield from _description(f"{path}.{name}", old[name], new[name], added_breaks)


def _description(path: str, old: Described, new: Described, implemented: bool) -> Iterator[Change]:
    if old["kind"] != new["kind"]:
        yield Change(path, f"was a {old['kind']} and is a {new['kind']}", True)
    elif old["kind"] == "class":
        for base in set(old["bases"]) - set(new["bases"]):
            yield Change(path, f"is no {base} any more", True)
        yield from _names(
            path, old["members"], new["members"], added_breaks="Protocol" in new["bases"]
        )
    elif old["kind"] == "function":
        yield from _parameters(path, old, new, implemented)
        if old["returns"] != new["returns"]:
            before, after = old["returns"] or "nothing", new["returns"] or "nothing"
            yield Change(path, f"returned {before} and returns {after}", True)
    else:
        if old["type"] != new["type"]:
            yield Change(
                path, f"was {old['type'] or 'untyped'} and is {new['type'] or 'untyped'}", True
            )
        if old["default"] and not new["default"]:
            yield Change(path, "has no default any more", True)


def _parameters(path: str, old: Described, new: Described, implemented: bool) -> Iterator[Change]:
    before = {parameter["name"]: parameter for parameter in old["parameters"]}
    after = {parameter["name"]: parameter for parameter in new["parameters"]}
    for name in before.keys() - after.keys():
        yield Change(path, f"takes no '{name}' any more", True)
    for name in after.keys() - before.keys():
        needed = not after[name]["default"] and not after[name]["kind"].startswith("variadic")
        yield Change(path, f"takes '{name}'", needed)
    for name in before.keys() & after.keys():
        yield from _parameter(f"{path}({name})", before[name], after[name], implemented)
    shared = [name for name in before if name in after]
    placed = [name for name in after if name in before]
    if shared != placed or list(after)[: len(shared)] != shared and _positional(after, shared):
        yield Change(path, f"takes its parameters in another order: {', '.join(after)}", True)


def _takes_more(before: str | None, now: str | None) -> bool:
    """Whether a type is a union with everything that another one is, such as ``str | int`` and ``str``."""
    return bool(before and now) and set(str(before).split(" | ")) < set(str(now).split(" | "))


def _positional(after: Described, shared: list[str]) -> bool:
    """Whether a new parameter stands before one that may be given by place."""
    last = max(
        (
            list(after).index(name)
            for name in shared
            if after[name]["kind"] not in ("keyword-only", "variadic keyword")
        ),
        default=-1,
    )
    return any(name not in shared for name in list(after)[:last])


def _parameter(path: str, old: Described, new: Described, implemented: bool) -> Iterator[Change]:
    """A parameter that takes more than before breaks nobody who calls, but those who implement a protocol."""
    if old["type"] != new["type"]:
        told = f"was {old['type'] or 'untyped'} and is {new['type'] or 'untyped'}"
        yield Change(path, told, implemented or not _takes_more(old["type"], new["type"]))
    if old["default"] and not new["default"]:
        yield Change(path, "has no default any more", True)
    if old["kind"] != new["kind"] and not (
        old["kind"] == "positional-only" or new["kind"] == _BY_KEYWORD[0]
    ):
        yield Change(path, f"was {old['kind']} and is {new['kind']}", True)
