"""A valid value, for checks and documentation."""


def box() -> list[float]:
    """One small box near the upper left corner, in pixels."""
    return [2.0, 3.0, 20.0, 24.0]
