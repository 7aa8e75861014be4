"""Position schemes and routers as a stranger writes them: with public imports alone."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from ofacore.plugin import Component, ComponentManifest, Option
from ofacore.protocols import Positions, PositionsContext, RelativeBias, Routes

HERE = __name__


class Alibi(nn.Module, Positions):
    """Scores fall with distance, by a slope for each head (Press et al. 2022); in cross-attention too."""

    def __init__(self, context: PositionsContext) -> None:
        super().__init__()
        self.span = context.max_positions
        slope = context.options["steepest"] ** torch.arange(1.0, context.heads + 1)
        self.register_buffer("table", -torch.arange(float(self.span))[:, None] * slope)

    def relative(self, place, queries, keys):
        distance = queries.coordinates[:, :, None, 0] - keys.coordinates[:, None, :, 0]
        return RelativeBias(
            (distance.abs().clamp(max=self.span - 1).int(),), lambda layer: self.table
        )


class Absolute(nn.Module, Positions):
    """A learned vector for each place, added to the embeddings."""

    restarts = True

    def __init__(self, context: PositionsContext) -> None:
        super().__init__()
        self.most = context.max_positions
        self.places = nn.ModuleDict(
            {side: nn.Embedding(self.most, context.hidden) for side in ("encoder", "decoder")}
        )

    def states(self, stack, coordinates, kind):
        return self.places[stack](coordinates[:, 0].clamp(max=self.most - 1))


class Half(nn.Module):
    """It forgot what the backbone asks of it."""

    packs, restarts, width = True, False, 0

    def __init__(self, context: PositionsContext) -> None:
        super().__init__()

    def states(self, stack, coordinates, kind):
        return None


class Chosen(nn.Module):
    """Two of all experts, by a small network, with a loss that keeps its scores small."""

    def __init__(self, options) -> None:
        super().__init__()
        self.k = options["k"]
        self.inner = nn.Linear(options["hidden"], options["width"])
        self.outer = nn.Linear(options["width"], options["number"])

    def forward(self, layout, hidden):
        scores = self.outer(torch.tanh(self.inner(hidden.float())))
        gates, experts = scores.softmax(-1).topk(self.k, -1)
        return Routes(experts, gates / gates.sum(-1, keepdim=True), scores.square().mean())


class ByTask:
    """An expert for each task, as the core's own, told without the model's states."""

    experts = "tasks"

    def __init__(self, options) -> None:
        self.names = options["names"]

    def __call__(self, layout, hidden):
        assert hidden is None
        number = torch.tensor([self.names.index(name) for name in layout.tasks])
        return Routes(number[layout.task][:, None])


class Beyond(Chosen):
    """Names experts that do not exist."""

    def forward(self, layout, hidden):
        return Routes(torch.full((len(hidden), 1), 7))


class Flat(Chosen):
    """Gives one number where a row is asked for."""

    def forward(self, layout, hidden):
        return torch.zeros(len(hidden), dtype=torch.int64), torch.ones(len(hidden))


class Mute(Chosen):
    """Gives nothing."""

    def forward(self, layout, hidden):
        return None


WIDTH = {"width": Option(6, "Width of the network.", minimum=1)}
MANIFEST = ComponentManifest(
    "schemes",
    (2, 0),
    (
        Component(
            "positions",
            "alibi",
            f"{HERE}:Alibi",
            options={"steepest": Option(0.5, "Of the first head.")},
        ),
        Component("positions", "absolute", f"{HERE}:Absolute"),
        Component("positions", "half", f"{HERE}:Half"),
        Component("router", "chosen", f"{HERE}:Chosen", options=WIDTH, batch_coupled=True),
        Component("router", "by_task", f"{HERE}:ByTask"),
        Component("router", "beyond", f"{HERE}:Beyond", options=WIDTH),
        Component("router", "flat", f"{HERE}:Flat", options=WIDTH),
        Component("router", "mute", f"{HERE}:Mute", options=WIDTH),
    ),
)
FAULTY = frozenset({"half", "beyond", "flat", "mute"})
SOUND = replace(
    MANIFEST, components=tuple(part for part in MANIFEST.components if part.name not in FAULTY)
)
"""Without those that lack something on purpose."""
