"""Signs of life of the processes of a run, and the stack of one that gives none.

Every process notes its step at each beat and sets a timer that only the next beat stops. When it runs out, a thread of
the interpreter's own (``faulthandler``) writes the stacks of all threads, whatever the process is busy with.

Under `ofacore.launch.elastic` the notes go to a folder that the launcher reads; under other launchers stacks go to
the standard error and the process ends, so that the launcher sees it fail.
"""

from __future__ import annotations

import faulthandler
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ofacore.ground.json_text import json_text
from ofacore.ground.machine import known_signals

FOLDER = "OFA_RANKS"
"""Environment variable: where the processes of a launcher leave notes."""
_STDERR = 2
_WAITING = ("torch/distributed/", "megatron/core/", "ofacore/parallel/")
"""Code in which a process waits for others."""


class Watchdog:
    """This process's signs of life.

    Args:
        rank: Number of this process.
        timeout: Seconds without a beat after which its stack is written.
        folder: Where to leave notes; None: stacks go to the standard error, and the process ends.

    Attributes:
        step: Steps at the last beat.
    """

    def __init__(self, rank: int, timeout: float, folder: Path | None) -> None:
        self.rank, self.timeout, self.folder, self.step = rank, timeout, folder, 0
        self._stack = open(stack_file(folder, rank), "w", encoding="utf-8") if folder else None  # noqa: SIM115

    def beat(self, step: int) -> None:
        """Still alive, after so many steps."""
        self.step = step
        if self.folder:
            note = {"pid": os.getpid(), "step": step, "time": time.time()}
            temporary = self.folder / f".beat-{self.rank}"
            temporary.write_text(json_text(note), encoding="utf-8")
            temporary.replace(beat_file(self.folder, self.rank))
        faulthandler.dump_traceback_later(
            self.timeout, exit=not self.folder, file=self._stack or _STDERR
        )

    def done(self) -> None:
        """This process did all that it was started for, or all that it could before it was told to stop."""
        if self.folder:
            done_file(self.folder, self.rank).touch()

    def rest(self) -> None:
        """Nothing is expected from now on."""
        faulthandler.cancel_dump_traceback_later()
        if self._stack and not self._stack.closed:
            self._stack.close()


def folder_of(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where this process leaves notes, if its launcher reads them."""
    return Path(environment[FOLDER]) if environment.get(FOLDER) else None


def beat_file(folder: Path, rank: int) -> Path:
    """Last sign of life of a process."""
    return folder / f"beat-{rank}.json"


def stack_file(folder: Path, rank: int) -> Path:
    """Stack of a process that gave none for too long."""
    return folder / f"stack-{rank}.txt"


def done_file(folder: Path, rank: int) -> Path:
    """There once a process came to its end in good order."""
    return folder / f"done-{rank}"


@dataclass(frozen=True)
class Hung:
    """A process that does not go on, and does not wait for another."""

    rank: int
    pid: int
    step: int
    stack: str


def hung(folder: Path, ranks: int) -> list[Hung]:
    """Processes that keep the others waiting; empty while no timer has run out.

    A process whose innermost Python frame is a collective waits for others. One that could not even write its stack
    (it is stopped, or the machine is) counts as hung.
    """
    stacks = {rank: _read(stack_file(folder, rank)) for rank in range(ranks)}
    if not any(stacks.values()):
        return []
    stuck = [rank for rank, stack in stacks.items() if not is_waiting(stack)] or list(stacks)
    return [_hung(folder, rank, stacks[rank]) for rank in stuck]


def is_waiting(stack: str) -> bool:
    """Whether the main thread of a dump waits for other processes."""
    main = stack.rpartition("(most recent call first):\n")[2]
    innermost = next((line for line in main.splitlines() if line.strip().startswith("File ")), "")
    return any(place in innermost for place in _WAITING)


def _hung(folder: Path, rank: int, stack: str) -> Hung:
    note = json.loads(_read(beat_file(folder, rank)) or '{"pid": 0, "step": 0}')
    return Hung(rank, int(note["pid"]), int(note["step"]), stack)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def end(process: Hung) -> None:
    """Kill a hung process; it may have gone already."""
    (strongest, *_) = known_signals("SIGKILL", "SIGTERM")
    try:
        os.kill(process.pid, strongest)
    except ProcessLookupError:
        return
