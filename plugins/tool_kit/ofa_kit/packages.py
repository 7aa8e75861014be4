"""Packages and distributions that exist for one test."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from ofa_kit.registry import load_manifest
from ofacore.plugin import Manifest


@dataclass(frozen=True)
class TmpPlugin:
    """A package that was written for a test."""

    name: str
    folder: Path

    @property
    def target(self) -> str:
        """``"name.manifest:MANIFEST"``."""
        return f"{self.name}.manifest:MANIFEST"

    @property
    def manifest(self) -> Manifest:
        """The manifest, imported."""
        return load_manifest(self.target)


class TmpPlugins:
    """Writes packages into a folder that is on the path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.names: list[str] = []

    def __call__(self, name: str, manifest: str, **modules: str) -> TmpPlugin:
        """Write a package.

        Args:
            name: Of the package, an identifier.
            manifest: Source of its module ``manifest``, which defines ``MANIFEST``.
            modules: Name -> source of further modules.
        """
        folder = self._folder / name
        folder.mkdir(parents=True)
        for module, source in {"__init__": "", "manifest": manifest, **modules}.items():
            (folder / f"{module}.py").write_text(dedent(source), encoding="utf-8")
        self.names.append(name)
        importlib.invalidate_caches()
        return TmpPlugin(name, folder)


class FakeDistributions:
    """Writes metadata of distributions into a folder that is on the path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(
        self,
        name: str,
        entry_points: Mapping[str, Mapping[str, str]],
        version: str = "1.0",
        requires: Sequence[str] = (),
    ) -> Path:
        """Write a ``.dist-info`` folder.

        Args:
            name: Of the distribution.
            entry_points: Group -> name -> target, as ``{"ofa.modality": {"x": "x.manifest:MANIFEST"}}``.
            version: Of the distribution.
            requires: Requirements, as in ``dependencies`` of a ``pyproject.toml``.

        Returns:
            The folder.
        """
        folder = self._folder / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        head = [
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}",
            *(f"Requires-Dist: {r}" for r in requires),
        ]
        (folder / "METADATA").write_text("\n".join(head) + "\n", encoding="utf-8")
        groups = [_section(group, points) for group, points in entry_points.items()]
        (folder / "entry_points.txt").write_text("\n\n".join(groups) + "\n", encoding="utf-8")
        importlib.invalidate_caches()
        return folder


def _section(group: str, points: Mapping[str, str]) -> str:
    """One group of an ``entry_points.txt``."""
    lines = [f"[{group}]"]
    lines += [f"{key} = {target}" for key, target in points.items()]
    return "\n".join(lines)
