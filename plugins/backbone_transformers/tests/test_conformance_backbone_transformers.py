"""The suite of every backbone, on an encoder-decoder and on a decoder alone."""

from __future__ import annotations

import pytest

from ofa_backbone_transformers.folder import BackboneError
from ofa_kit import BackboneConformance


class _OnAFolder(BackboneConformance):
    plugin = "ofa_backbone_transformers.manifest:MANIFEST"
    backbone = "transformers"
    family = ""

    @pytest.fixture(autouse=True)
    def _options(self, folder_of):
        self.options = {"path": str(folder_of(self.family))}

    def test_can_be_built_from_declared_options(self):
        with pytest.raises(BackboneError, match="has no path; give model.backbone"):
            self._new({})
        assert self._new() is not None


class TestT5(_OnAFolder):
    family = "t5"


class TestGpt2(_OnAFolder):
    family = "gpt2"
