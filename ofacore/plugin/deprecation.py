"""How a public name goes: it warns for a while, says what to use, and is removed with the next major contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T", bound=Callable[..., object])


def deprecated(instead: str, *, since: str, removed_in: str) -> Callable[[T], T]:
    """Mark a function, method or class that plugins should not use any more.

    Calling it (or making an instance, or a subclass) gives a `DeprecationWarning` at the place of the call.

    Args:
        instead: What to use in its place, in a few words.
        since: First version of the core that warns.
        removed_in: Version of the core that will not have it; a major version, since the contract's major number rises.

    Example:
        >>> @deprecated("use new", since="1.2", removed_in="2.0")
        ... def old() -> int:
        ...     return 1
        >>> old.__deprecated__
        "deprecated since 1.2, removed in 2.0: use new"
    """
    from typing_extensions import deprecated as mark

    return mark(
        f"deprecated since {since}, removed in {removed_in}: {instead}", category=DeprecationWarning
    )
