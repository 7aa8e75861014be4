"""Python programs in processes that have imported everything already.

Most of a short command's time is imports, and these are the same for all: a server process imports them once, and each
program runs in a fork of it, with arguments, environment, folder, streams and exit code of its own. What a process
imports, or how long it takes to start, cannot be told from this.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

PRELOADED = (
    "ofa_cli.commands.infer",
    "ofa_cli.failures",
    "ofa_cli.lazy",
    "ofa_cli.ranks",
    "ofacore.generalist.facade",
    "ofacore.generalist.fitting",
    "ofacore.runs.scoring_run",
    "ofacore.runs.train_run",
    "ofa_kit",
    "pytest",
)


def run_program(
    program: Sequence[str],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 600,
) -> subprocess.CompletedProcess[str]:
    """What ``subprocess.run([sys.executable, *program])`` gives, streams captured as text.

    Args:
        program: ``-m MODULE ARGUMENT...`` or ``FILE ARGUMENT...``.

    Raises:
        subprocess.TimeoutExpired: It and what it started were killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    variables = dict(os.environ if env is None else env)
    with TemporaryDirectory() as name:
        out, err = Path(name, "out"), Path(name, "err")
        arguments = (list(program), str(cwd or Path.cwd()), variables, str(out), str(err))
        process = context.Process(target=_become, args=arguments)
        process.start()
        process.join(timeout)
        if process.is_alive():
            with suppress(ProcessLookupError):
                os.killpg(process.pid or 0, signal.SIGKILL)
            process.join()
            raise subprocess.TimeoutExpired(list(program), timeout)
        code = process.exitcode or 0
        process.close()
        return subprocess.CompletedProcess(list(program), code, _text(out), _text(err))


def _text(file: Path) -> str:
    return file.read_text("utf-8", "replace") if file.exists() else ""


def _become(program: list[str], folder: str, variables: dict[str, str], out: str, err: str) -> None:
    """Run a program as the main one of this process."""
    os.setsid()
    os.chdir(folder)
    for number, name in ((1, out), (2, err)):
        file = os.open(name, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    _use(variables)
    if program[0] == "-m":
        sys.argv = program[1:]
        sys.path.insert(0, folder)
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = program
        sys.path.insert(0, str(Path(program[0]).parent))
        runpy.run_path(program[0], run_name="__main__")


def _use(variables: dict[str, str]) -> None:
    """Take an environment: where Python looks for modules is read from it at the start only."""
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ.clear()
    os.environ.update(variables)
    paths = variables.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [path for path in paths if path and path not in before]
