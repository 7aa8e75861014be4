"""Real distributions, made in a temporary folder and seen by a fresh interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

ROWS = "import json, sys; from dataclasses import asdict; from ofacore.plugin import Registry; r = Registry.discover()"


class Site:
    """A folder with distributions, first on the path of the interpreters that `run` starts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache = folder / "site", folder / "cache"
        self.folder.mkdir()

    def install(
        self, distribution: str, entry_points: str, modules: Mapping[str, str], version: str = "1.0"
    ) -> None:
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n\nText\n"
        )
        (info / "entry_points.txt").write_text(dedent(entry_points))
        for name, code in modules.items():
            self.write(name, code)

    def install_modality(
        self,
        name: str,
        slot: str,
        distribution: str = "",
        contract: str = "CONTRACT",
        extra: str = "",
    ) -> None:
        """A modality of one slot type; its manifest module is called ``<name>_manifest``."""
        distribution = distribution or f"dist-{name}"
        module = f"{distribution.replace('-', '_')}_manifest"
        points = f"[ofa.modality]\n{name} = {module}:MANIFEST\n"
        self.install(distribution, points, {module: modality(name, slot, contract, extra)})

    def write(self, module: str, code: str) -> None:
        (self.folder / f"{module}.py").write_text(code)

    def run(
        self, code: str, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        paths = [str(self.folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        variables = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "OFA_CACHE": str(self.cache),
        }
        variables["PYTHONDONTWRITEBYTECODE"] = "1"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**variables, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def rows(self, **environment: str) -> dict[str, dict[str, Any]]:
        """Rows by distribution, in the order of the registry."""
        out = self.run(
            f"{ROWS}\nprint(json.dumps([asdict(row) for row in r.rows]))", **environment
        ).stdout
        return {row["distribution"]: row for row in json.loads(out)}


def modality(name: str, slot: str, contract: str = "CONTRACT", extra: str = "") -> str:
    """Source of a manifest module with one slot type."""
    source = dedent(f"""
        from ofacore.plugin import CONTRACT, Component, ModalityManifest, SlotType
        def is_element(value):
            return isinstance(value, str)
        {{extra}}
        MANIFEST = ModalityManifest(
            "{name}", {contract}, (SlotType("{slot}", "doc", "{name}", "strings", is_element),),
            (Component("preprocessor", "{name}", "{name}_code:Thing"),),
        )
    """)
    return source.replace("{extra}", extra)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("shared"))
