"""What tests depend on besides the code: the processor, and state of the process that one leaves behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
"""The first example of a property may load a library, which takes seconds on a slow machine."""


def pytest_report_header() -> str:
    """What the processor has, and what is taken in its place: results may depend on it in `precision: auto` alone."""
    import torch

    from ofacore.parallel.process import described_bf16, fast_bf16

    cpu = torch.device("cpu")
    taken = "bf16" if fast_bf16(cpu) else "fp32"
    return f"processor: bf16 {described_bf16(cpu)}; precision auto takes {taken} (OFA_BF16=on or off overrules)"


@pytest.fixture(params=["on", "off"])
def bf16_units(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test runs twice: as on a processor that is fast in bf16, and as on one that is not; ``on`` or ``off``."""
    monkeypatch.setenv("OFA_BF16", request.param)
    return str(request.param)


@pytest.fixture(autouse=True)
def _denormals() -> Iterator[None]:
    """Training in this process flushes denormal numbers; property tests over floats need them."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """No process groups outlive the file that made them: the next one may fork processes that make their own."""
    groups = sys.modules.get("ofacore.parallel.process_groups")
    if groups is not None and (nextitem is None or nextitem.path != item.path):
        groups.stop()
