from ofa_kit import MetricConformance, ModalityConformance
from ofa_modality_field import sample

COLDER = [[number - 7.0 for number in row] for row in sample()]
NAN = [[float("nan")] * 4] * 3


class TestField(ModalityConformance):
    plugin = "field"
    values = (sample(), COLDER)
    bad_values = ("warm", [[1.0, 2.0], [3.0]], [[1.0, 2.0]], NAN, [[None] * 4] * 3)


class TestFieldError(MetricConformance):
    plugin = "field"
    metric = "field_error"
    predictions = (sample(), COLDER, COLDER, sample())
    references = (sample(), sample(), COLDER, COLDER)
