"""Processes of one group from one that has imported everything.

``python -m tests.parallel.forked MODULE RANKS LOGS FOLDER NAME...``: imports take longer than most cases, and are the
same for all ranks. What follows LOGS goes to ``main`` of the module.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from ofacore.parallel import cpu

PATIENCE = 10.0
"""Seconds that the others have once one has failed."""


def start(rank: int, log: Path, work: Callable[[], object]) -> int:
    """A process for a rank; returns its number."""
    process = os.fork()
    if process:
        return process
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    with log.open("wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(running: dict[int, int]) -> dict[int, int]:
    """Exit codes of all ranks; ``running`` is process -> rank."""
    codes: dict[int, int] = {}
    deadline, parent = float("inf"), os.getppid()
    while running:
        process, status = os.waitpid(-1, os.WNOHANG)
        if process:
            codes[running.pop(process)] = os.waitstatus_to_exitcode(status)
        if any(codes.values()):
            deadline = min(deadline, time.monotonic() + PATIENCE)
        if time.monotonic() > deadline or os.getppid() != parent:  # the tests were killed
            for each in running:
                os.kill(each, 9)
        time.sleep(0.02)
    return codes


def main(module: str, ranks: int, logs: Path, arguments: list[str]) -> None:
    """Run ``module.main(folder, names)`` on every rank; leaves ``codes.json`` and what each rank said."""
    work = importlib.import_module(module).main
    cpu.install()
    folder, *names = arguments
    run = [Path(folder), *([names] if names else [])]
    running = {start(rank, logs / f"{rank}.log", lambda: work(*run)): rank for rank in range(ranks)}
    (logs / "codes.json").write_text(json.dumps(ended(running)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
