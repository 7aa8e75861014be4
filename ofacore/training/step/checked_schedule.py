"""A schedule whose every step is looked at: what a plugin gives must be a step that can be made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ofacore.components.schedules import ScheduleError
from ofacore.plugin.blame import Blame
from ofacore.protocols import Schedule


@dataclass(frozen=True)
class CheckedSchedule:
    """The schedule of a run."""

    schedule: Schedule
    owner: str
    """Name and plugin, for messages."""
    tasks: tuple[str, ...]
    samples: int
    """Samples that every step has."""

    def counts(self, step: int) -> dict[str, int]:
        """Samples of each task in a step.

        Raises:
            ScheduleError: They are no whole numbers from 0 that sum to the samples of a step, or name an unknown task.
        """
        with Blame(self.owner, f"counts({step})"):
            found = self.schedule.counts(step)
        if problem := self._problem(found):
            raise ScheduleError(f"{self.owner}: counts({step}) {problem}")
        return found

    def _problem(self, found: Any) -> str:
        if not isinstance(found, Mapping):
            return f"gives {found!r:.60}, no mapping from tasks to samples"
        unknown = [name for name in found if name not in self.tasks]
        if unknown:
            return f"names task {unknown[0]!r:.60}; there are {', '.join(self.tasks)}"
        wrong = [name for name, count in found.items() if not _is_count(count)]
        if wrong:
            return (
                f"gives task '{wrong[0]}' {found[wrong[0]]!r:.60} samples, no whole number from 0"
            )
        if sum(found.values()) != self.samples:
            return (
                f"gives {sum(found.values())} samples, but a step has train.samples={self.samples}"
            )
        return ""


def _is_count(count: Any) -> bool:
    return isinstance(count, int) and not isinstance(count, bool) and count >= 0
