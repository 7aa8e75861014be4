"""Wheels of this repository, and environments that hold some of them and nothing else of ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
_IGNORED = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "tests", ".*")


class Layer:
    """A fresh environment over the third-party packages of the running one."""

    def __init__(self, folder: Path, third_party: Path) -> None:
        self.folder = folder
        _call(sys.executable, "-m", "venv", "--without-pip", str(folder))
        (packages,) = (folder / "lib").glob("python*/site-packages")
        (packages / "third_party.pth").write_text(f"{third_party}\n")

    def install(self, wheels: Iterable[Path]) -> None:
        python = str(self.folder / "bin" / "python")
        pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
        _call(*pip, "install", "--quiet", "--no-index", "--no-deps", *map(str, wheels))

    def unmet(self) -> list[str]:
        """What our distributions in this environment lack, by ``pip check``."""
        python = str(self.folder / "bin" / "python")
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            python,
            "--disable-pip-version-check",
            "check",
        ]
        found = subprocess.run(
            pip, capture_output=True, text=True, check=False, env=clean_environment()
        ).stdout
        return [line for line in found.splitlines() if line.startswith("ofa")]

    def run(self, *command: str) -> str:
        """Standard output of a command of this environment, far from the source tree."""
        environment = clean_environment() | {
            "OFA_CACHE": str(self.folder / "cache"),
            "OMP_NUM_THREADS": "1",
        }
        program = str(self.folder / "bin" / command[0])
        return _call(program, *command[1:], cwd=self.folder, env=environment)

    def plugins(self) -> dict[str, dict[str, Any]]:
        """Rows of ``ofa plugins list --json`` by distribution."""
        return {
            row["distribution"]: row
            for row in json.loads(self.run("ofa", "plugins", "list", "--json"))
        }


def clean_environment() -> dict[str, str]:
    """Variables of this process without those that change what Python imports.

    pip takes what it finds on PYTHONPATH for installed, and would leave it out of the environment.
    """
    return {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "OFA_"))
    }


def _call(*command: str, **options: Any) -> str:
    options.setdefault("env", clean_environment())
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Path]]:
    """``wheels("core", "modality_text")`` builds each wheel once, out of a copy of its sources."""
    folder = tmp_path_factory.mktemp("wheels")

    def build(*names: str) -> list[Path]:
        for name in names:
            if not (folder / name).exists():
                sources = _copy_sources(name, folder / f"{name}-sources")
                pip = [
                    sys.executable,
                    "-m",
                    "pip",
                    "wheel",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--no-deps",
                ]
                _call(*pip, "--no-build-isolation", "--wheel-dir", str(folder / name), str(sources))
        return [wheel for name in names for wheel in (folder / name).glob("*.whl")]

    return build


def _copy_sources(name: str, folder: Path) -> Path:
    if name != "core":
        shutil.copytree(ROOT / "plugins" / name, folder, ignore=_IGNORED)
        return folder
    for part in ("ofacore", "cli"):
        shutil.copytree(ROOT / part, folder / part, ignore=_IGNORED)
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, folder)
    return folder


@pytest.fixture(scope="session")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Layer]:
    """``layer("name")`` makes an environment in which nothing of ours is installed.

    The folder of links leaves out our own distributions, also the records of editable ones: a path in a ``.pth`` file
    does not run the ``.pth`` files inside it, but its ``.dist-info`` folders would still announce entry points.
    """
    third_party = tmp_path_factory.mktemp("third_party")
    for packages in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(packages).iterdir():
            if not entry.name.startswith(("ofa", "__editable__")) and entry.suffix != ".pth":
                (third_party / entry.name).symlink_to(entry)
    return lambda name: Layer(tmp_path_factory.mktemp(name) / "env", third_party)
