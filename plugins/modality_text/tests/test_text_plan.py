"""The manifest as an instruction sees it."""

from __future__ import annotations

import pytest

from ofa_modality_text.manifest import MANIFEST
from ofa_modality_text.preprocessor import TextPreprocessor
from ofa_modality_text.sample import text
from ofacore.protocols import Preprocessor


def test_the_preprocessor_keeps_the_contract():
    assert isinstance(TextPreprocessor(MANIFEST.components[0].options), Preprocessor)
    assert MANIFEST.slots[0].is_element(text())


@pytest.mark.parametrize(
    "name",
    [
        "max_length",
        "min_length",
        "uncased",
        "no_punctuation",
        "mask_ratio",
        "noise_ratio",
        "closed_set",
        "disable_auto_boseos",
        "length",
        "level",
    ],
)
def test_every_attribute_is_declared_once_and_documented(name):
    (attribute,) = [known for known in MANIFEST.slots[0].attributes if known.name == name]
    assert attribute.doc
