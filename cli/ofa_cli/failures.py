"""Which errors are the user's to mend, and how they are told."""

from __future__ import annotations

import errno

from ofacore.ground.errors import UserError

USER_ERRORS = ("InstructionError", "ConfigError", "FetchError", "RowError", "SourceError")
"""Errors of the core that do not derive from `UserError`, known by name so that no room is imported for them."""
_PLACES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


def is_user_error(error: BaseException) -> bool:
    """True if the command should exit with 2."""
    if isinstance(error, UserError) or _is_about_a_place(error):
        return True
    return any(
        cls.__name__ in USER_ERRORS and cls.__module__.partition(".")[0] == "ofacore"
        for cls in type(error).__mro__
    )


def _is_about_a_place(error: BaseException) -> bool:
    """A full or protected disk, met where nothing checked for it."""
    return isinstance(error, OSError) and error.errno in _PLACES


def message(error: BaseException) -> str:
    """What to print: a user error speaks for itself, a failure is named by its type too."""
    if isinstance(error, OSError) and _is_about_a_place(error):
        place = f"'{error.filename}'" if error.filename else "a file"
        remedy = (
            "allow reading and writing it"
            if error.errno in (errno.EACCES, errno.EROFS)
            else "make room"
        )
        return f"{place} cannot be used: {error.strerror}; {remedy}, or choose another place"
    if is_user_error(error):
        return str(error)
    text = str(error).strip()
    if type(error).__name__ == "RankFailedError":
        return text
    notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
    return f"{type(error).__name__}{': ' if text else ''}{text} (--debug shows where){notes}"
