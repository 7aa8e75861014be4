"""Everything of `on_a_pretended_gpu.py`, in a process of its own.

Autograd counts the devices of a process at its first backward pass, so that the pretended one has to be there before
any other test computes gradients.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_every_form_trains_and_answers_on_a_pretended_gpu() -> None:
    file = HERE / "on_a_pretended_gpu.py"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        str(file),
    ]
    settings = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        command,
        cwd=HERE.parents[1],
        env=settings,
        capture_output=True,
        text=True,
        timeout=850,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
