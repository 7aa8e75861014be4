"""Fixtures for tests of plugins; pytest loads this module through its entry point ``ofacore``.

It imports neither torch nor anything else that is slow before a test asks for a fixture.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ofa_kit.packages import FakeDistributions, TmpPlugins
    from ofa_kit.ranks import RankPools
    from ofa_kit.registry import ClosedRegistry

_CHECKING = (
    "adapter",
    "criterion",
    "declaration",
    "generator",
    "losses",
    "metric",
    "modality",
    "schedule",
    "slot_suite",
    "slot_type",
    "suite",
    "task",
)
"""Modules whose assertions pytest explains."""
pytest.register_assert_rewrite(*(f"ofa_kit.{name}" for name in _CHECKING))


def pytest_configure(config: pytest.Config) -> None:
    """Make the suites' marker known to projects that do not declare it."""
    config.addinivalue_line("markers", "dist: starts several processes that form a group")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under xdist (``--dist loadgroup``) tests on ranks go to one worker: one pool, one group at a time."""
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            pooled = "rank_pools" in getattr(item, "fixturenames", ())
            if pooled or item.get_closest_marker("dist"):
                item.add_marker(pytest.mark.xdist_group("ranks"))


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> ClosedRegistry:
    """The core's components and what the test registers; while it is in use, discovery is an error.

    ``registry.register("package.manifest:MANIFEST")`` adds a plugin and returns the registry.
    """
    from ofa_kit.registry import ClosedRegistry, refuse_discovery
    from ofacore.plugin import Registry

    monkeypatch.setattr(Registry, "discover", refuse_discovery)
    return ClosedRegistry()


@pytest.fixture
def tmp_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TmpPlugins]:
    """Writes an importable package with a manifest; it is gone after the test.

    ``tmp_plugin("my_plugin", manifest="...", preprocessor="...")`` takes the source of each module and returns an
    object with ``target`` (``"my_plugin.manifest:MANIFEST"``), ``folder`` and ``manifest``.
    """
    from ofa_kit.packages import TmpPlugins

    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    plugins = TmpPlugins(tmp_path / "packages")
    yield plugins
    for name in plugins.names:
        for module in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
            del sys.modules[module]
    importlib.invalidate_caches()


@pytest.fixture
def fake_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDistributions:
    """Makes a distribution that looks installed, so that discovery finds its entry points.

    ``fake_distribution("my-dist", {"ofa.modality": {"my": "my_plugin.manifest:MANIFEST"}}, version="1.0")``
    """
    from ofa_kit.packages import FakeDistributions

    monkeypatch.setenv("OFA_CACHE", str(tmp_path / "cache"))
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return FakeDistributions(tmp_path / "site")


@pytest.fixture(scope="session")
def rank_pools(pytestconfig: pytest.Config) -> Iterator[RankPools]:
    """The processes behind `run_distributed`, started when first needed."""
    from ofa_kit.ranks import RankPools

    pools = RankPools((str(pytestconfig.rootpath),))
    yield pools
    pools.close()


@pytest.fixture
def run_distributed(rank_pools: RankPools) -> Callable[..., list[Any]]:
    """``run_distributed(fn, world_size=2, *args, tensor=1, timeout=120)``: the result of ``fn(*args)`` on every rank.

    The ranks are processes of one gloo group, started once for all tests of a session. ``fn`` stands at the top level
    of a module. An error in a rank is raised as `ofa_kit.RankError` with its rank and traceback.
    """
    return rank_pools.run


@pytest.fixture(scope="class")
def bench(request: pytest.FixtureRequest) -> Any:
    """What the checks of one conformance suite share, made when first needed."""
    return request.cls().bench()
