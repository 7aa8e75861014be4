"""What looks at plugins and plans imports no torch; the last test proves that the others can fail."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "megatron", "transformers", "diffusers", "datasets", "tokenizers")
RICH = ("rich",)

LIGHT = {
    "import ofacore": ("import ofacore", HEAVY + RICH),
    "import Generalist and Task": (
        "from ofacore import Generalist, Task; Task('t', '[TEXT:a] -> [TEXT:b]', train=[{'a': 'x', 'b': 'y'}])",
        HEAVY + RICH,
    ),
    "import plugin": ("import ofacore.plugin", HEAVY + RICH + ("numpy", "pydantic")),
    "ofa --help": (["--help"], HEAVY + RICH + ("numpy", "pydantic")),
    "ofa plugins list": (["plugins", "list"], HEAVY + RICH + ("numpy",)),
    "ofa plugins list --json": (["plugins", "list", "--json"], HEAVY + RICH + ("numpy",)),
    "ofa plugins show": (["plugins", "show", "core"], HEAVY + RICH),
    "ofa plugins check": (["plugins", "check", "core"], HEAVY + RICH),
    "ofa plugins doctor": (["plugins", "doctor", "--json"], HEAVY + RICH),
    "ofa plugins new": (["plugins", "new", "--help"], HEAVY + RICH),
    "ofa tasks list": (["tasks", "list", "--json"], HEAVY + RICH),
    "ofa explain": (["explain", "[TEXT:a] -> [TEXT:b]"], HEAVY + RICH),
    "ofa config schema": (["config", "schema"], HEAVY + RICH),
}


def _imported(action: str | list[str]) -> set[str]:
    """Top-level modules that an action leaves behind in a fresh interpreter."""
    call = action if isinstance(action, str) else f"from ofa_cli.main import main; main({action!r})"
    code = f"""
import atexit, sys
atexit.register(lambda: print(*sorted({{name.partition('.')[0] for name in sys.modules}}), file=sys.stderr))
{call}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("name", LIGHT)
def test_nothing_heavy_is_imported(name):
    action, forbidden = LIGHT[name]
    assert not _imported(action) & set(forbidden)


def test_the_test_of_lightness_can_fail():
    found = _imported("import torch; from ofa_cli.main import main; main(['--help'])")
    assert "torch" in found and "typer" in found


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, "10000 None"),
        ({"GOMP_SPINCOUNT": "7"}, "7 None"),
        ({"OMP_WAIT_POLICY": "active"}, "None active"),
    ],
)
def test_waiting_threads_leave_their_cores_unless_the_environment_says_otherwise(given, found):
    code = """
import atexit, os
from ofa_cli.main import main
atexit.register(lambda: print(os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY")))
main(["explain", "[TEXT:a] -> [TEXT:b]"])
"""
    kept = {
        name: v
        for name, v in os.environ.items()
        if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=kept | given, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == found
