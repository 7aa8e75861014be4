"""A new package, built as a wheel and installed where nothing else is, passes its tests and trains."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ofa_cli.scaffold.components import COMPONENTS
from ofa_cli.scaffold.package import new_package, request_of
from ofa_cli.scaffold.writing import write_package
from ofacore.plugin import Registry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600), pytest.mark.xdist_group("wheels")]
KINDS = {
    "modality": ("modality", "pulse", "", ""),
    "task": ("task", "opposites", "", ""),
    **{kind: ("component", f"fresh-{kind}", "", kind) for kind in COMPONENTS},
}


@pytest.fixture(scope="module")
def environment(layer, wheels):
    """The core, and the slot type that serves plain text."""
    found = layer("fresh")
    found.install(wheels("core", "modality_text"))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_wheel_of_a_new_package_is_tested_and_trains(environment, tmp_path, kind):
    request = request_of(*KINDS[kind])
    folder = tmp_path / request.names.distribution
    write_package(folder, new_package(request, Registry.discover()))
    environment.install([_wheel(folder, tmp_path)])
    shutil.rmtree(folder / request.names.package)
    row = environment.plugins()[request.names.distribution]
    assert (row["status"], row["problem"]) == ("ok", "")
    assert environment.unmet() == []
    environment.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder))
    trained = environment.run("python", "-c", _TRAIN.format(folder=str(folder)))
    assert "run folder: runs/" in trained


_TRAIN = """
import os
from ofa_cli.main import main
os.chdir({folder!r})
main(["train", "sample/train.yaml", "--set", "train.steps=4"])
"""


def _wheel(folder: Path, place: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command = [*pip, "--no-build-isolation", "--wheel-dir", str(place), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = place.glob("*.whl")
    return wheel
