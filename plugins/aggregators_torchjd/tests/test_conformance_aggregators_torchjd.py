"""Every aggregator of this plugin passes the kit, each where its solver is installed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from ofa_kit import AggregatorConformance

PLUGIN = "ofa_aggregators_torchjd.manifest:MANIFEST"


class TestUPGrad(AggregatorConformance):
    plugin = PLUGIN
    aggregator = "upgrad"


class TestMGDA(AggregatorConformance):
    plugin = PLUGIN
    aggregator = "mgda"


class TestPCGrad(AggregatorConformance):
    plugin = PLUGIN
    aggregator = "pcgrad"


@pytest.mark.skipif(not find_spec("clarabel"), reason="cagrad needs cvxpy and clarabel")
class TestCAGrad(AggregatorConformance):
    plugin = PLUGIN
    aggregator = "cagrad"


@pytest.mark.skipif(not find_spec("ecos"), reason="nash_mtl needs cvxpy and ecos")
class TestNash(AggregatorConformance):
    plugin = PLUGIN
    aggregator = "nash_mtl"


class TestGradNorm(AggregatorConformance):
    plugin = PLUGIN
    aggregator = "gradnorm"
    options = {"alpha": 0.5}


class TestFamo(AggregatorConformance):
    plugin = PLUGIN
    aggregator = "famo"


class TestUncertainty(AggregatorConformance):
    plugin = PLUGIN
    aggregator = "uncertainty"


class TestProgress(AggregatorConformance):
    plugin = PLUGIN
    aggregator = "progress"
