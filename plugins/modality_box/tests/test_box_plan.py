"""The manifest as an instruction sees it."""

from __future__ import annotations

from ofa_modality_box.manifest import MANIFEST
from ofa_modality_box.preprocessor import BoxPreprocessor
from ofa_modality_box.sample import box
from ofacore.protocols import Preprocessor


def test_the_preprocessor_keeps_the_contract():
    assert isinstance(BoxPreprocessor(MANIFEST.components[0].options), Preprocessor)
    assert MANIFEST.slots[0].is_element(box())


def test_boxes_are_bound_to_images():
    slot = MANIFEST.slots[0]
    (binding,) = [attribute for attribute in slot.attributes if attribute.name == slot.bound_to]
    assert (binding.type, binding.choices) == ("slot", ("IMAGE", "VIDEO"))
