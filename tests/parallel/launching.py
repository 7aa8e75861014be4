"""Starts the processes of a distributed test."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def launch(module: str, ranks: int, *arguments: str, timeout: float = 500) -> list[tuple[int, str]]:
    """Run ``python -m module arguments`` as so many processes of one group.

    Returns:
        Exit code and output (both streams) of each.
    """
    common = {
        **os.environ, "WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }  # fmt: skip
    command = [sys.executable, "-W", "ignore", "-m", module, *arguments]
    started = [
        subprocess.Popen(
            command, env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}, cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for rank in range(ranks)
    ]  # fmt: skip
    return _results(started, time.monotonic() + timeout)


def _results(started: list[subprocess.Popen[str]], deadline: float) -> list[tuple[int, str]]:
    """Wait for all; once one fails, the others have little time left."""
    try:
        while any(process.poll() is None for process in started):
            if any(process.poll() not in (None, 0) for process in started):
                deadline = min(deadline, time.monotonic() + 10)
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
    finally:
        for process in started:
            process.kill() if process.poll() is None else None
    return [(process.wait(), process.communicate()[0]) for process in started]
