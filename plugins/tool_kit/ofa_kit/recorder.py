"""A decode session that allows what the protocol promises and nothing more."""

from __future__ import annotations

from typing import Any

from ofacore.protocols import DecodeSession

ALLOWED = tuple(
    sorted(name for name in {**vars(DecodeSession), "pending": None} if not name.startswith("_"))
)
"""Names of `ofacore.protocols.DecodeSession`."""


class Recorder:
    """Wraps a session; any name outside the protocol is an error that lists what there is."""

    def __init__(self, session: Any) -> None:
        object.__setattr__(self, "_session", session)

    def __getattr__(self, name: str) -> Any:
        _check(name)
        found = getattr(object.__getattribute__(self, "_session"), name)
        if name == "unconditional":
            return None if found is None else Recorder(found)
        return (lambda: Recorder(found())) if name == "fork" else found

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "pending":
            raise ProtocolBreach(f"a generator set session.{name}; only `pending` may be set")
        object.__getattribute__(self, "_session").pending = value


class ProtocolBreach(AttributeError):
    """A generator used what a decode session does not promise."""


def _check(name: str) -> None:
    if name not in ALLOWED:
        raise ProtocolBreach(
            f"a generator used session.{name}, which a decode session does not promise; it has {', '.join(ALLOWED)}"
        )
