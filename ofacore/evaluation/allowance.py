"""The time that quick methods may take beside a training: a tenth of it, and fewer rows where that is not enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from ofacore.protocols import BaselineTask, ContrastTask
from ofacore.setup.datasets import spread

_SHARE, _LEAST_SECONDS = 0.1, 5.0
"""Of the time of the training that all methods may take, and what they may take after a short one."""
LEAST_ROWS = 20
"""Training rows from which on a method is fitted."""
_FIRST, _GROWTH, _WORTH = 16, 4, 1.5
"""First rows are one of so many; then there are so many times as many at most, and so many times (or all) at least."""
Answers = TypeVar("Answers")


def beside(training: float | None) -> float | None:
    """Seconds for the methods beside a training that took so long; None: as long as they take."""
    return None if training is None else max(_LEAST_SECONDS, _SHARE * training)


@dataclass
class Allowance:
    """Seconds for the quick methods of all tasks; what one task leaves, the others may use.

    Args:
        seconds: For all tasks together; None: as long as they take.
        tasks: How many there are.
    """

    seconds: float | None = None
    tasks: int = 1
    clock: Callable[[], float] = field(default=time.perf_counter, repr=False)

    @contextmanager
    def of_task(self) -> Iterator[Deadline]:
        """The time of the next task; what it takes is taken off."""
        began = self.clock()
        until = None
        if self.seconds is not None:
            until = began + max(0.0, self.seconds) / max(1, self.tasks)
        try:
            yield Deadline(until, self.clock)
        finally:
            self.tasks -= 1
            if self.seconds is not None:
                self.seconds -= self.clock() - began


@dataclass(frozen=True)
class Deadline:
    """When the methods of one task have to be done."""

    until: float | None = None
    """By the clock; None: never."""
    clock: Callable[[], float] = field(default=time.perf_counter, repr=False)

    def part(self, parts: int) -> Deadline:
        """The end of one of so many equal parts of what is left."""
        if self.until is None:
            return self
        now = self.clock()
        return replace(self, until=now + max(0.0, self.until - now) / max(1, parts))

    def rows(self, most: int, tried: int, seconds: float) -> int:
        """How many of at most so many rows there is time for, where some were tried and took so long."""
        if self.until is None or not tried:
            return most
        left = max(0.0, self.until - self.clock())
        return max(0, min(most, int(left * tried / max(seconds, 1e-9))))


def fitted(
    method: Callable[[Any], Answers | None],
    task: BaselineTask | ContrastTask,
    deadline: Deadline,
) -> tuple[Answers | None, int]:
    """What a method answers when it has learned from as many rows as there is time for, and how many these are.

    It begins with few rows, and goes on with up to four times as many while the time of the last is worth that.
    """
    rows = len(task)
    count = rows if deadline.until is None else min(rows, max(LEAST_ROWS, rows // _FIRST))
    first = True
    while True:
        began = deadline.clock()
        found = method(_part(task, count))
        if count == rows:
            return found, rows
        if found is None:  # it may need more rows to see that it applies
            count = rows
            continue
        possible = deadline.rows(rows, count, deadline.clock() - began)
        worth = possible >= min(rows, _WORTH * count)
        if not worth and not first:
            return found, count
        if not worth:  # what is imported at first use is no time of rows
            possible = count
        first = False
        count = min(possible, _GROWTH * count)


def _part(task: BaselineTask | ContrastTask, count: int) -> BaselineTask | ContrastTask:
    """The task with so many of its rows."""
    rows = len(task)
    if count == rows:
        return task
    return task.some(spread(rows, count))


def told(name: str, rows: int, of: int) -> str:
    """The name of a method, with the number of its rows where these are not all."""
    return name if rows >= of else f"{name}, {rows:,} rows"
