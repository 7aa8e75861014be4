"""Which errors are the user's to mend, and how they are told."""

from __future__ import annotations

from ofacore.errors import UserError

USER_ERRORS = ("InstructionError", "ConfigError", "FetchError", "RowError", "SourceError")
"""Errors of the core that do not derive from `UserError`, known by name so that no room is imported for them."""


def is_user_error(error: BaseException) -> bool:
    """True if the command should exit with 2."""
    if isinstance(error, UserError):
        return True
    return any(
        cls.__name__ in USER_ERRORS and cls.__module__.partition(".")[0] == "ofacore" for cls in type(error).__mro__
    )


def message(error: BaseException) -> str:
    """What to print: a user error speaks for itself, a failure is named by its type too."""
    if is_user_error(error):
        return str(error)
    text = str(error).strip()
    if type(error).__name__ == "RankFailedError":
        return text
    return f"{type(error).__name__}{': ' if text else ''}{text} (--debug shows where)"
