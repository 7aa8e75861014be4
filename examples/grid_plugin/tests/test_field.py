from ofa_kit import MetricConformance, ModalityConformance

WARM = [[12.0, 13.0, 14.5, 15.0], [11.0, 12.5, 14.0, 14.5], [10.5, 11.0, 13.0, 13.5]]
COLDER = [[number - 7.0 for number in row] for row in WARM]
NAN = [[float("nan")] * 4] * 3


class TestField(ModalityConformance):
    plugin = "field"
    values = (WARM, COLDER)
    bad_values = ("warm", [[1.0, 2.0], [3.0]], [[1.0, 2.0]], NAN, [[None] * 4] * 3)


class TestFieldError(MetricConformance):
    plugin = "field"
    metric = "field_error"
    predictions = (WARM, COLDER, COLDER, WARM)
    references = (WARM, WARM, COLDER, COLDER)
