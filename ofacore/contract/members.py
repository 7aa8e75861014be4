"""Members that a component may leave out: they have the protocol's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

ProtocolT = TypeVar("ProtocolT")
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def seen_as(protocol: type[ProtocolT], built: Any) -> ProtocolT:
    """A component, or its class, through its protocol: members that it does not have are those of the protocol.

    So a member that a component may leave out stands in its protocol with its default, and is read in one way.
    """
    return cast(ProtocolT, _Seen(protocol, built))


def optional(method: FunctionT) -> FunctionT:
    """Marks a method of a protocol that a component may leave out: then it has the protocol's own."""
    method.__optional__ = True  # type: ignore[attr-defined]
    return method


class _Seen:
    """A component with the defaults of its protocol."""

    __slots__ = ("_built", "_protocol")

    def __init__(self, protocol: type, built: Any) -> None:
        self._protocol, self._built = protocol, built

    def __getattr__(self, name: str) -> Any:
        if hasattr(self._built, name):
            return getattr(self._built, name)
        default = getattr(self._protocol, name)
        return default.__get__(self._built) if isinstance(default, property) else default
