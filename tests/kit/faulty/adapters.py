"""Adapters of TOUCH with one fault each, named for the check that finds it."""

from __future__ import annotations

import torch
from torch import nn

from ofacore.protocols import PositionGrid
from tests.kit.faulty.touch import TouchAdapter


class BlindToPlaces(TouchAdapter):
    def embed(self, features, shapes):
        return self.layer(features["numbers"][:, None])


class WrongLength(TouchAdapter):
    @staticmethod
    def length(shape, options):
        return shape[0] + 1


class RandomLength(TouchAdapter):
    @staticmethod
    def length(shape, options):
        return shape[0] + int(torch.randint(0, 1000, ()))


class CountsFromOne(TouchAdapter):
    @staticmethod
    def coordinates(shape, options):
        return TouchAdapter.coordinates(shape, options) + 1


class BatchMean(TouchAdapter):
    def embed(self, features, shapes):
        states = super().embed(features, shapes)
        return states - states.mean(0)


class BatchNorm(TouchAdapter):
    def __init__(self, context):
        super().__init__(context)
        self.norm = nn.BatchNorm1d(context.hidden)

    def embed(self, features, shapes):
        return self.norm(super().embed(features, shapes))


class LongestFirst(TouchAdapter):
    def embed(self, features, shapes):
        pieces = super().embed(features, shapes).split([count for (count,) in shapes])
        return torch.cat(sorted(pieces, key=len, reverse=True))


class LooseTensor(TouchAdapter):
    def __init__(self, context):
        super().__init__(context)
        self.loose = torch.randn(context.hidden)

    def embed(self, features, shapes):
        return super().embed(features, shapes) + self.loose


class Detached(TouchAdapter):
    def embed(self, features, shapes):
        return super().embed(features, shapes).detach()


class InfiniteGradient(TouchAdapter):
    def embed(self, features, shapes):
        states = super().embed(features, shapes)
        return states + (states * 0).abs().sqrt()


class KnowsItsRank(TouchAdapter):
    def embed(self, features, shapes):
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        return super().embed(features, shapes) * (1 + rank)


class HooksTheTable(TouchAdapter):
    """Its parameters work on other modalities' tokens."""

    def __init__(self, context):
        super().__init__(context)
        context.embedding.table.register_forward_hook(
            lambda module, inputs, found: found + self.layer.bias
        )
        original = context.embedding.forward
        context.embedding.forward = lambda ids: original(ids) + self.layer.bias


class CountsCalls(TouchAdapter):
    def __init__(self, context):
        super().__init__(context)
        self.calls = 0

    def embed(self, features, shapes):
        self.calls += 1
        return super().embed(features, shapes) * (-1) ** self.calls


class KeepsEverything(TouchAdapter):
    def __init__(self, context):
        super().__init__(context)
        self.kept = []

    def embed(self, features, shapes):
        self.kept.append(super().embed(features, shapes))
        return self.kept[-1]


class OddAxes(TouchAdapter):
    axes = 2


class OneAxis(TouchAdapter):
    axes = 1

    @staticmethod
    def coordinates(shape, options):
        places = TouchAdapter.coordinates(shape, options).copy()
        places[:, 1:] = 0
        return places


class LooseGrid(TouchAdapter):
    grid = (4, 4)


class SmallGrid(TouchAdapter):
    grid = PositionGrid(1, 1)


class MaybeCollective(TouchAdapter):
    collective = "yes"


class StoresMore(TouchAdapter):
    @staticmethod
    def stored_options(options):
        return {**options, "weights": ""}


class StoresInPlace(TouchAdapter):
    @staticmethod
    def stored_options(options):
        options["seen"] = True
        return options


class NoLength(nn.Module):
    """Lacks what the protocol asks for."""

    coordinates = TouchAdapter.coordinates

    def embed(self, features, shapes):
        return features
