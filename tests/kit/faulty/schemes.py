"""Position schemes, each with one fault."""

from __future__ import annotations

import torch
from torch import nn

from ofacore.protocols import Positions, RelativeBias


class Steps(nn.Module, Positions):
    """Without fault: a learned number for each head and distance up to 8."""

    def __init__(self, context):
        super().__init__()
        self.context = context
        self.table = nn.Parameter(torch.zeros(9, context.heads))

    def relative(self, place, queries, keys):
        distance = queries.coordinates[:, :, None, 0] - keys.coordinates[:, None, :, 0]
        return None if place == "cross" else self.bias(distance)

    def bias(self, distance):
        return RelativeBias((distance.abs().clamp(max=8).int(),), lambda layer: self.table)


class LacksRotation(nn.Module):
    packs, restarts, width = True, False, 0
    states = vectors = features = relative = lambda self, *given: None

    def __init__(self, context):
        super().__init__()


class BeyondItsTable(Steps):
    def bias(self, distance):
        return RelativeBias((distance.abs().int() + 5,), lambda layer: self.table)


class OneHead(Steps):
    def bias(self, distance):
        return RelativeBias((distance.abs().clamp(max=8).int(),), lambda layer: self.table[:, :1])


class WholeTurns(Steps):
    def rotation(self, coordinates):
        return coordinates[..., :1].float()


class Short(Steps):
    def states(self, stack, coordinates, kind):
        return torch.zeros(1, self.context.hidden)


class Blind(Steps):
    def relative(self, place, queries, keys):
        return None


class CountsTheRow(Steps):
    """Takes places in the tensor for places in the sequence."""

    def relative(self, place, queries, keys):
        places = torch.arange(keys.kind.shape[1]) - keys.kind.shape[1]
        return None if place == "cross" else self.bias(places.expand(*queries.kind.shape, -1) + 8)


class CountsQueries(Steps):
    """Counts distances from the first of the queries that it is given."""

    def relative(self, place, queries, keys):
        distance = keys.coordinates[:, None, :, 0] - queries.coordinates[:, :1, None, 0]
        every = distance.expand(-1, queries.kind.shape[1], -1)
        return None if place == "cross" else self.bias(every)


class NeverAsked(Steps):
    def __init__(self, context):
        super().__init__(context)
        self.spare = nn.Parameter(torch.zeros(3))
