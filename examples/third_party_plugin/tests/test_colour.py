from ofa_kit import MetricConformance, ModalityConformance


class TestColour(ModalityConformance):
    plugin = "colour"
    values = ("#ff8800", "#000000", "#12abef", "#ffffff")
    bad_values = ("orange", "#ff88", 7)


class TestColourError(MetricConformance):
    plugin = "colour"
    metric = "colour_error"
    predictions = ("#000000", "#ff0000", "#00ff00", "#123456")
    references = ("#000000", "#fe0000", "#0000ff", "#654321")
