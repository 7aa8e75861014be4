"""Routers without fault, and routers with one fault each."""

from __future__ import annotations

import torch
from torch import nn

from ofacore.protocols import Routes


class Best(nn.Module):
    """The experts that a matrix finds best."""

    def __init__(self, options):
        super().__init__()
        self.k = options["k"]
        self.weight = nn.Parameter(torch.empty(options["number"], options["hidden"]))

    def scores(self, layout, hidden):
        return hidden @ self.weight.T

    def forward(self, layout, hidden):
        gates, experts = self.scores(layout, hidden).softmax(-1).topk(self.k)
        return Routes(experts, gates)


class Beyond(Best):
    def forward(self, layout, hidden):
        routes = super().forward(layout, hidden)
        return routes._replace(experts=routes.experts + 1)


class Vague(Best):
    def forward(self, layout, hidden):
        return super().forward(layout, hidden)._replace(loss=self.weight.sum(1))


class Repeats(Best):
    def forward(self, layout, hidden):
        routes = super().forward(layout, hidden)
        return routes._replace(experts=routes.experts[:, :1].expand_as(routes.experts))


class Noisy(Best):
    def scores(self, layout, hidden):
        found = super().scores(layout, hidden)
        return found + torch.randn(found.shape)


class Causal(Best):
    def scores(self, layout, hidden):
        return super().scores(layout, hidden) * (1 - 2 * layout.causal[:, None].float())


class Idle(Best):
    def __init__(self, options):
        super().__init__(options)
        self.scale = nn.Parameter(torch.ones(1))


class ByTask:
    """An expert for each task."""

    experts = "tasks"

    def __init__(self, options):
        self.names = options["names"]

    def found(self, layout):
        places = torch.tensor([self.names.index(name) for name in layout.tasks])
        return places[layout.task][:, None]

    def __call__(self, layout, hidden):
        experts = self.found(layout)
        counts = torch.bincount(experts.flatten(), minlength=len(self.names))
        return Routes(experts, counts=tuple(counts.tolist()))


class Miscounts(ByTask):
    def __call__(self, layout, hidden):
        routes = super().__call__(layout, hidden)
        return routes._replace(counts=tuple(count + 1 for count in routes.counts))


class AsksTheHost(ByTask):
    def __call__(self, layout, hidden):
        routes = super().__call__(layout, hidden)
        if layout.facts is None:
            return routes._replace(experts=torch.zeros_like(routes.experts), counts=None)
        return routes._replace(counts=None)


class TakesPlaces(ByTask):
    def found(self, layout):
        return layout.task[:, None]
