"""Starts the processes of a distributed test."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def launch(module: str, ranks: int, *arguments: str, timeout: float = 500) -> list[tuple[int, str]]:
    """Run ``main`` of a module as so many processes of one group; see `tests.parallel.forked`.

    Returns:
        Exit code and output (both streams) of each.
    """
    for _ in range(3):
        done = _launched(module, ranks, *arguments, timeout=timeout)
        if not any(
            "EADDRINUSE" in output for _, output in done
        ):  # another process took the port in between
            break
    return done


def _launched(module: str, ranks: int, *arguments: str, timeout: float) -> list[tuple[int, str]]:
    environment = {
        **os.environ,
        "WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    with TemporaryDirectory() as name:
        logs = Path(name)
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "tests.parallel.forked",
            module,
            str(ranks),
            name,
            *arguments,
        ]
        with (logs / "launcher.log").open("w") as file:
            parent = subprocess.Popen(
                command,
                env=environment,
                cwd=ROOT,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            parent.wait(timeout)
        except subprocess.TimeoutExpired:
            pass
        finally:  # also where a test is interrupted
            if parent.poll() is None:
                os.killpg(parent.pid, signal.SIGKILL)
                parent.wait()
        return [(_code(logs, rank), _said(logs, rank)) for rank in range(ranks)]


def _code(logs: Path, rank: int) -> int:
    codes = logs / "codes.json"
    return int(json.loads(codes.read_text())[str(rank)]) if codes.exists() else -int(signal.SIGKILL)


def _said(logs: Path, rank: int) -> str:
    own = logs / f"{rank}.log"
    return (own if own.exists() else logs / "launcher.log").read_text(errors="replace")
