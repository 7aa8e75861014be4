"""How far a colour is from another."""

import numpy as np

from ofa_modality_colour.preprocessor import Colours


class ColourError:
    """Mean difference of red, green and blue, 0 to 255."""

    higher_is_better = False

    def __init__(self, options):
        self.read, self.errors = Colours({"width": 3}).to_array, []

    def update(self, predictions, references, rows):
        pairs = zip(predictions, references, strict=True)
        self.errors += [
            float(np.abs(self.read(given) - self.read(right)).mean()) for given, right in pairs
        ]

    def compute(self):
        return {"colour_error": float(np.mean(self.errors)) if self.errors else float("nan")}

    def merge(self, other):
        self.errors += other.errors

    def items(self):
        return self.errors
