"""The conformance kit on this plugin."""

from ofa_kit import ModalityConformance
from ofa_modality_image.sample import picture


class TestBox(ModalityConformance):
    plugin = "ofa_modality_box.manifest:MANIFEST"
    requires = ("ofa_modality_image.manifest:MANIFEST",)
    context = "[IMAGE:img]"
    row = {"img": picture()}
    model = {"preprocessors": {"image": {"size": 16}}}
    values = [[2.0, 3.0, 20.0, 24.0], [10.0, 5.0, 40.0, 30.0]]
    bad_values = (object(), [1.0, 2.0], [20.0, 3.0, 2.0, 24.0], "no box")
    tolerance = 0.05


class TestManyBoxes(TestBox):
    attributes = "many"
    values = [[[2.0, 3.0, 20.0, 24.0]], [[10.0, 5.0, 40.0, 30.0], [1.0, 1.0, 9.0, 9.0]]]

    def test_values_are_recognised(self, bench):
        """With `many` a value is a list of elements."""
        assert all(bench.slot_type.is_element(box) for value in self.values for box in value)


class TestCoarseBox(TestBox):
    attributes = "preprocess=box_coarse"
    tolerance = 1.0
