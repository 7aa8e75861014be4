"""The conformance kit on this plugin."""

from ofa_kit import ModalityConformance


class TestText(ModalityConformance):
    plugin = "ofa_modality_text.manifest:MANIFEST"
    values = ["a dog", "a dog runs across the meadow", ""]
    bad_values = (object(), True, float("nan"))


class TestCategory(ModalityConformance):
    plugin = "ofa_modality_text.manifest:MANIFEST"
    slot = "CATEGORY"
    values = ["dog", "big cat", "7"]
    bad_values = (object(), True)
