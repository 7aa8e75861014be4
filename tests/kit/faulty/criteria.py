"""Criteria with one fault each."""

from __future__ import annotations

import torch
from torch import nn

from ofacore.protocols import Loss
from tests.kit.faulty.touch import Squares


class NoScope:
    def __init__(self, options): ...


class OddScope(Squares):
    scope = "batch"


class OddNeeds(Squares):
    needs = frozenset({"magic"})


class Couples(Squares):
    batch_coupled = True


class CountsFloats(Squares):
    def count(self, labels):
        return float(len(labels["numbers"]))


class CountsCalls(Squares):
    calls = 0

    def count(self, labels):
        self.calls += 1
        type(self).calls += 1
        return len(labels["numbers"]) + type(self).calls


class OneNumber(Squares):
    def __call__(self, prediction, labels, ctx):
        return Loss(super().__call__(prediction, labels, ctx).values.sum())


class Half(Squares):
    def __call__(self, prediction, labels, ctx):
        return Loss(super().__call__(prediction, labels, ctx).values.half())


class Averages(Squares):
    def __call__(self, prediction, labels, ctx):
        sums = super().__call__(prediction, labels, ctx).values
        return Loss(sums / torch.tensor(ctx.lengths).clamp(min=1))


class AveragesNothing(Squares):
    def __call__(self, prediction, labels, ctx):
        sums = super().__call__(prediction, labels, ctx).values
        lengths = torch.tensor(ctx.lengths)
        return Loss(sums / lengths * lengths)


class FirstWins(Squares):
    def __call__(self, prediction, labels, ctx):
        values = super().__call__(prediction, labels, ctx).values
        return Loss(values * torch.arange(1, len(values) + 1))


class ComparesItems(Squares):
    def __call__(self, prediction, labels, ctx):
        values = super().__call__(prediction, labels, ctx).values
        return Loss(values - values.mean())


class Roots(Squares):
    def errors(self, prediction, labels):
        return prediction.norm(dim=1) + super().errors(prediction, labels) ** 0.5


class ZeroRoots(Squares):
    def errors(self, prediction, labels):
        return prediction.square().sum(1).sqrt()


class Spoils(Squares):
    def count(self, labels):
        labels["numbers"] += 1
        return len(labels["numbers"])


class SpoilsLabels(Squares):
    def __call__(self, prediction, labels, ctx):
        found = super().__call__(prediction, labels, ctx)
        labels["numbers"].zero_()
        return found


class TakesLabels(Squares):
    def __call__(self, prediction, labels, ctx):
        return super().__call__(prediction, {"numbers": labels.pop("numbers")}, ctx)


class Rolls(Squares):
    def errors(self, prediction, labels):
        return super().errors(prediction, labels) * torch.rand(len(prediction))


class Loose(nn.Module):
    scope, needs, batch_coupled = "position", frozenset(), False

    def __init__(self, options):
        super().__init__()
        self.weight = torch.randn(())

    def count(self, labels):
        return len(labels["numbers"])

    def forward(self, prediction, labels, ctx):
        values = Squares({})(prediction, labels, ctx).values
        return Loss(values * self.weight)


class LayersWithoutNeed(Squares):
    attention_layers = (0,)


class NamesLayers(Squares):
    needs = frozenset({"attention"})
    attention_layers = ("last",)


class UndeclaredOption(Squares):
    def __init__(self, options):
        super().__init__(options)
        self.unit = options["unit"]


class Taught(Squares):
    def distillation(self, prediction, taught, labels, ctx):
        return self(prediction, {"numbers": taught.reshape(len(taught), -1)[:, 0]}, ctx)


class TaughtOnce(Taught):
    def distillation(self, prediction, taught, labels, ctx):
        return Loss(super().distillation(prediction, taught, labels, ctx).values.sum())


class TaughtInHalf(Taught):
    def distillation(self, prediction, taught, labels, ctx):
        return Loss(super().distillation(prediction, taught, labels, ctx).values.half())


class TaughtByRows(Taught):
    def distillation(self, prediction, taught, labels, ctx):
        return self(prediction, labels, ctx)


class TaughtAway(Taught):
    def distillation(self, prediction, taught, labels, ctx):
        return Loss(1 / (1 + super().distillation(prediction, taught, labels, ctx).values))
