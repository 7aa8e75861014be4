"""A valid value, for checks and documentation."""


def text() -> str:
    """One short text."""
    return "a dog runs across the meadow"


def name() -> str:
    """The name of one class."""
    return "dog"
