"""A metric without fault, and metrics with one fault each."""

from __future__ import annotations

import math


class Closeness:
    """Mean distance of numbers."""

    higher_is_better = False

    def __init__(self, options):
        self.distances = []

    def update(self, predictions, references, rows):
        self.distances += [abs(p - r) for p, r in zip(predictions, references, strict=True)]

    def compute(self):
        return {
            "distance": math.fsum(self.distances) / len(self.distances)
            if self.distances
            else math.nan
        }

    def merge(self, other):
        self.distances += other.distances

    def items(self):
        return self.distances


class NoDirection(Closeness):
    higher_is_better = None


class WrongDirection(Closeness):
    higher_is_better = True


class Texts(Closeness):
    def compute(self):
        return {"distance": str(super().compute()["distance"])}


class MergesMeans(Closeness):
    def merge(self, other):
        if other.distances:
            mean = (self.compute()["distance"] + other.compute()["distance"]) / 2
            self.distances = [mean] if self.distances else other.distances


class ForgetsOnEmptyMerge(Closeness):
    def merge(self, other):
        self.distances = [*self.distances, *other.distances] if other.distances else []


class LastCounts(Closeness):
    def compute(self):
        return {"distance": self.distances[-1] if self.distances else math.nan}


class NothingRaises(Closeness):
    def compute(self):
        return {"distance": sum(self.distances) / len(self.distances)}


class Pops(Closeness):
    def compute(self):
        found = super().compute()
        self.distances = self.distances[1:]
        return found


class OneItem(Closeness):
    def items(self):
        return [0.0]


class Sorts(Closeness):
    def update(self, predictions, references, rows):
        predictions.sort()
        super().update(predictions, references, rows)


class HoldsLambda(Closeness):
    def __init__(self, options):
        super().__init__(options)
        self.function = lambda x: x


class UndeclaredOption(Closeness):
    def __init__(self, options):
        super().__init__(options)
        self.unit = options["unit"]


class OddNeeds(Closeness):
    needs = "logits"


class NoColumn(Closeness):
    needs = "candidates"


class OddColumn(Closeness):
    reference_column = 3
