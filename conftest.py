"""State of the process that a test may leave behind and others must not find."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _denormals() -> Iterator[None]:
    """Training in this process flushes denormal numbers; property tests over floats need them."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
