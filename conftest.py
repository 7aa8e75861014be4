"""State of the process that a test may leave behind and others must not find."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import entry_points

import pytest

if not any(found.name == "ofacore" for found in entry_points(group="pytest11")):
    # An environment that was installed before the fixtures had an entry point.
    pytest_plugins = ("ofacore.testing.pytest_plugin",)


@pytest.fixture(autouse=True)
def _denormals() -> Iterator[None]:
    """Training in this process flushes denormal numbers; property tests over floats need them."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
