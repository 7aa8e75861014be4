"""What a protocol asks of the classes that serve it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def missing_members(protocol: type, built: type) -> list[str]:
    """Methods, and attributes of the class, that a protocol has without a default and a class has not."""
    there = {name for base in built.__mro__ for name in vars(base)}
    return [name for name in _asked(protocol) if name not in there]


def _asked(protocol: type) -> Iterator[str]:
    for base in protocol.__mro__:
        if not getattr(base, "_is_protocol", False) or base.__module__ == "typing":
            continue
        for name, member in vars(base).items():
            function = getattr(member, "__func__", member)
            if _is_method(name, function) and not getattr(function, "__optional__", False):
                yield name
        for name, annotation in base.__dict__.get("__annotations__", {}).items():
            if str(annotation).startswith(("ClassVar", "typing.ClassVar")) and name not in vars(
                base
            ):
                yield name


def _is_method(name: str, member: Any) -> bool:
    public = not name.startswith("_") or name == "__call__"
    return public and callable(member)
