"""What can be wrong with a configuration, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ofacore.ground.errors import UserError


@dataclass(frozen=True)
class Place:
    """Where a value was written."""

    source: str = ""
    """File, or ``--set key=value``; empty where unknown."""
    line: int = 0
    """From 1; 0 where there are no lines."""

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


NOWHERE = Place()


@dataclass(frozen=True)
class Problem:
    """One mistake."""

    path: str
    """Key path: ``tasks.caption.weight``; empty for a whole file."""
    message: str
    """What was found and what is expected; the first line says it, others may draw it."""
    place: Place = NOWHERE
    hint: str = ""
    """The way out: ``did you mean 'steps'?``"""

    def __str__(self) -> str:
        first, *picture = self.message.split("\n")
        head = ": ".join(part for part in (str(self.place), self.path, first) if part)
        head = f"{head}; {self.hint}" if self.hint else head
        return "\n".join([head, *(f"    {line}" for line in picture)])


class ConfigError(UserError):
    """A configuration cannot be used; every problem that was found is in it.

    Attributes:
        problems: All of them, in the order found.
        salvaged: What is left without the keys that do not fit the schema, so that the rest can be checked too:
            `ofacore.config.Loaded`, or None.
    """

    def __init__(self, problems: Sequence[Problem], salvaged: Any = None) -> None:
        self.problems, self.salvaged = tuple(problems), salvaged
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        title = f"{count} problem{'s' if count != 1 else ''} in the configuration:"
        return "\n".join([title, *(f"  {problem}" for problem in self.problems)])
