"""Workers encode without torch, and reading the manifest imports no library at all."""

from __future__ import annotations

import subprocess
import sys

import pytest

PACKAGE = "ofa_modality_image"


def _imported(module: str, library: str) -> bool:
    code = f"import sys, {module}; print(any(m.split('.')[0] == {library!r} for m in sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return found.stdout.strip() == "True"


@pytest.mark.parametrize("module", ["preprocessor", "transform", "flow_preprocessor"])
def test_encoding_needs_no_torch(module: str) -> None:
    assert not _imported(f"{PACKAGE}.{module}", "torch")


@pytest.mark.parametrize("library", ["torch", "numpy", "PIL"])
def test_the_manifest_imports_no_library(library: str) -> None:
    assert not _imported(f"{PACKAGE}.manifest", library)


def test_the_check_can_fail() -> None:
    assert _imported(f"{PACKAGE}.adapter", "torch")
