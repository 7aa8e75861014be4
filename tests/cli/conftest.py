"""The command line as a user calls it: a process with arguments, streams and an exit code."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import pytest

from tests.warm import run_program

Ofa = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def ofa() -> Ofa:
    """``ofa("plugins", "list")`` runs the command in a process of its own."""

    def run(*arguments: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = {**os.environ, "COLUMNS": "100", **environment}
        done = run_program(["-m", "ofa_cli.main", *arguments], env=variables)
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr or "--debug" in arguments
        return done

    return run
