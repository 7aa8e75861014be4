"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["problem", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a plugin."""

    plugin: str
    distribution: str
    severity: Severity
    check: str
    """Which check found it, in a word: ``targets``, ``attributes``, ``imports`` ..."""
    place: str
    """``file:line``, or the ``"module:Object"`` where no file is known."""
    message: str
    """What is wrong."""
    remedy: str
    """What to do about it."""

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        return (
            f"{self.severity}: {self.plugin}: {place}{self.message}; {self.remedy} [{self.check}]"
        )


@dataclass(frozen=True)
class Subject:
    """The plugin under check; makes findings about it."""

    plugin: str
    distribution: str
    place: str
    """File of its manifest, or its target."""

    def problem(self, check: str, message: str, remedy: str, place: str = "") -> Finding:
        """Something that does not work."""
        return Finding(
            self.plugin, self.distribution, "problem", check, place or self.place, message, remedy
        )

    def warning(self, check: str, message: str, remedy: str, place: str = "") -> Finding:
        """Something that works, but should be otherwise."""
        return Finding(
            self.plugin, self.distribution, "warning", check, place or self.place, message, remedy
        )
