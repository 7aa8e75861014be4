"""New packages, built as wheels and installed where nothing else is, pass their tests."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ofa_kit.scaffold.components import COMPONENTS
from ofa_kit.scaffold.package import new_package, request_of
from ofa_kit.scaffold.writing import write_package
from ofacore.plugin import Registry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600), pytest.mark.xdist_group("wheels")]
KINDS = {
    "modality": ("modality", "pulse", "", ""),
    "task": ("task", "opposites", "", ""),
    **{kind: ("component", f"fresh-{kind}", "", kind) for kind in COMPONENTS},
}


@pytest.fixture(scope="module")
def environment(layer, wheels, tmp_path_factory):
    """The core, the slot type that serves plain text, and a package of every kind; ``folders`` are their sources."""
    found, place, registry = layer("fresh"), tmp_path_factory.mktemp("built"), Registry.discover()
    found.folders = {}
    for kind, words in KINDS.items():
        request = request_of(*words)
        found.folders[kind] = place / request.names.distribution
        write_package(found.folders[kind], new_package(request, registry))
    found.install(
        [
            *wheels("core", "modality_text", "tool_kit", "tool_starter"),
            *_wheels(found.folders.values(), place / "wheels"),
        ]
    )
    for folder in found.folders.values():
        for part in (*folder.glob("ofa_*"), folder / "build"):
            shutil.rmtree(part)
    return found


def test_all_are_found_and_lack_nothing(environment):
    rows = environment.plugins()
    found = {kind: rows[folder.name] for kind, folder in environment.folders.items()}
    assert {kind: (row["status"], row["problem"]) for kind, row in found.items()} == dict.fromkeys(
        KINDS, ("ok", "")
    )
    assert environment.unmet() == []


IN_EACH = """
import os, sys
import ofa_cli.main, ofacore.generalist.fitting, ofacore.generalist.facade, ofa_kit, pytest, torch
for folder in sys.argv[1:]:
    child = os.fork()
    if not child:
        os.chdir(folder)
        code = pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", ".", "."])
        sys.stdout.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        sys.exit(f"{folder}: exit code {code}")
"""
"""A process that has imported everything takes one package after the other, each in a fork."""


def test_all_pass_their_own_tests(environment):
    """Which train from the package's sample by the command, too."""
    said = environment.run("python", "-c", IN_EACH, *map(str, environment.folders.values()))
    assert said.count(" passed") == len(KINDS)


def _wheels(folders, place: Path) -> list[Path]:
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]
    command = [*pip, "--no-build-isolation", "--wheel-dir", str(place), *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return list(place.glob("*.whl"))
