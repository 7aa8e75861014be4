"""The conformance kit on this plugin."""

from ofa_kit import PositionsConformance


class TestUntied(PositionsConformance):
    plugin = "ofa_positions_untied.manifest:MANIFEST"
    positions = "untied"
    options = {"buckets": 8}


class TestSharedBias(TestUntied):
    options = {"buckets": 8, "share_bias": True, "layernorm": False}


class TestEntangled(TestUntied):
    options = {"entangled": True, "attention_bias": False}
