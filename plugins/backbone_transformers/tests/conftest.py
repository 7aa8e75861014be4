"""Folders of small random models, made once."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


def _folders() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "transformers_folders", Path(__file__).with_name("folders.py")
    )
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="session")
def folders() -> ModuleType:
    """What makes folders."""
    return _folders()


@pytest.fixture(scope="session")
def folder_of(
    folders: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The folder of a family."""
    place, made = tmp_path_factory.mktemp("families"), {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = folders.save(family, place / family)
        return made[family]

    return folder
