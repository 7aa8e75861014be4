"""A plugin with two criteria and a head, written with public imports alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ofacore.plugin import CONTRACT, Component, ComponentManifest
from ofacore.protocols import Loss


class ScaledCrossEntropy(nn.Module):
    """Cross-entropy whose temperature is learned."""

    scope, needs, batch_coupled = "position", frozenset(), False

    def __init__(self, options):
        super().__init__()
        self.log_scale = nn.Parameter(torch.full((1,), float(options["start"])))
        self.unit = str(options["unit"])

    def count(self, labels):
        return 1 if self.unit == "item" else len(labels["ids"])

    def forward(self, prediction, labels, ctx):
        logits = prediction.logits().float() * self.log_scale.exp()
        nll = nn.functional.cross_entropy(logits, prediction.local(labels["ids"]), reduction="none")
        values = torch.stack([part.sum() for part in nll.split(list(ctx.lengths))])
        return Loss(values)


class Diagonal:
    """Attention should run along the diagonal (guided attention, Tachibana et al. 2017)."""

    scope, needs, batch_coupled = "segment", frozenset({"attention"}), False

    def __init__(self, options):
        self.attention_layers = tuple(options["layers"])

    def count(self, labels):
        return 1

    def __call__(self, prediction, labels, ctx):
        assert ctx.attention is not None and len(ctx.attention) == len(self.attention_layers)
        values = [
            sum(_off_diagonal(layer[item]) for layer in ctx.attention)
            for item in range(len(ctx.lengths))
        ]
        return Loss(torch.stack(values))


def _off_diagonal(weights):
    _, length, read = weights.shape
    assert torch.allclose(weights.sum(-1), torch.ones(()), atol=1e-5)
    rows = torch.arange(length)[:, None] / length
    columns = torch.arange(read)[None] / read
    penalty = 1 - torch.exp(-((rows - columns) ** 2) / (2 * 0.2**2))
    return (weights.float() * penalty).mean()


class MeanHead(nn.Module):
    """Tells the tokens of an item from the mean of its states; a head of its own."""

    positionwise = False

    def __init__(self, context):
        super().__init__()
        self.turn = nn.Linear(context.hidden, context.hidden)
        self.embedding = (context.embedding,)

    def forward(self, hidden, ctx):
        means = torch.stack([part.mean(0) for part in self.turn(hidden).split(list(ctx.lengths))])
        weight, ids = self.embedding[0].output(ctx.blocks)
        return means @ weight.T, ids


class Bag:
    """Every token of another slot, from the mean of this one's states."""

    scope, needs, batch_coupled = "segment", frozenset(), False

    def __init__(self, options):
        pass

    def count(self, labels):
        return len(np.unique(labels["ids"]))

    def __call__(self, prediction, labels, ctx):
        logits, ids = prediction
        logs, start, values = logits.float().log_softmax(-1), 0, []
        for item, length in enumerate(ctx.label_lengths["ids"]):
            wanted = labels["ids"][start : start + length].unique()
            values.append(-logs[item, torch.searchsorted(ids, wanted)].sum())
            start += length
        return Loss(torch.stack(values))


MANIFEST = ComponentManifest(
    "lossy",
    CONTRACT,
    (
        Component(
            "criterion",
            "scaled",
            f"{__name__}:ScaledCrossEntropy",
            "Cross-entropy with a learned temperature.",
            options={"start": 0.0, "unit": "token"},
        ),
        Component(
            "criterion",
            "diagonal",
            f"{__name__}:Diagonal",
            "Diagonal attention.",
            options={"layers": [-1]},
        ),
        Component("criterion", "bag", f"{__name__}:Bag", "Tokens in any order."),
        Component("head", "mean", f"{__name__}:MeanHead", "Tokens from a mean."),
    ),
)
