"""A model of two modalities with two heads, its steps, and the plain single-process training to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ofacore.model.item_needs import ModelNeeds, Part
from ofacore.model.universal import UniversalModel
from ofacore.protocols import (
    Batch,
    CriterionContext,
    Loss,
    Positions,
    PositionsContext,
    PositionView,
    RelativeBias,
    TermGroup,
)
from ofacore.training.step.loss_groups import join_groups
from tests.model.layouts import (
    NEEDS,
    VOCABULARY,
    Parts,
    Sample,
    collate,
    model,
    random_sample,
    with_source_rows,
)
from tests.training.small import Step, whole_step

RATE = 0.01
LAYERS = {"encoder_layers": 3, "decoder_layers": 3}


class Numbers(nn.Module):
    """A head for numbers."""

    positionwise = True

    def __init__(self, context: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(context.hidden, 2)

    def forward(self, hidden: Tensor, ctx: Any) -> Tensor:
        return self.linear(hidden)


class Scaled(nn.Module):
    """Squared error, times a learned number."""

    scope, needs, batch_coupled = "position", frozenset[str](), False

    def __init__(self, options: Any) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.7))

    def forward(self, prediction: Tensor, labels: Any, ctx: CriterionContext) -> Loss:
        errors = (prediction.float() - labels["y"]).square().sum(1) * self.scale.exp() * 0.1
        return Loss(torch.stack([part.sum() for part in errors.split(ctx.lengths)]))


class Peeking(Scaled):
    """Wants what no pipeline can give."""

    needs = frozenset({"attention"})


class Sampling(Scaled):
    """Wants sequences from the model."""

    needs = frozenset({"rollout"})


class WholeHeads(nn.Module, Positions):
    """A position scheme for all heads, as of a plugin that knows nothing of layouts."""

    packs, restarts, width = False, True, 2

    def __init__(self, context: PositionsContext) -> None:
        super().__init__()
        hidden, self.heads = context.hidden, context.heads
        self.places, self.project = (
            nn.Embedding(8, hidden),
            nn.Linear(hidden, self.width * self.heads),
        )
        self.tables = nn.ModuleList([nn.ModuleList([nn.Embedding(5, self.heads)])])

    def vectors(self, stack: Any, coordinates: Tensor, kind: Tensor) -> Tensor:
        return self.places(coordinates[..., 0].clamp(0, 7))

    def features(self, place: Any, role: Any, vectors: Tensor) -> Tensor:
        return self.project(vectors).unflatten(-1, (self.heads, self.width))

    def relative(
        self, place: Any, queries: PositionView, keys: PositionView
    ) -> RelativeBias | None:
        if place == "cross":
            return None
        distance = queries.coordinates[:, :, None, 0] - keys.coordinates[:, None, :, 0]
        same = queries.run[:, :, None] == keys.run[:, None]
        index = torch.where(same, distance.clamp(-2, 2) + 2, 5).int()
        return RelativeBias((index,), self._table)

    def _table(self, layer: int) -> Tensor:
        weight = self.tables[0][0].weight
        return torch.cat([weight, weight.new_zeros(1, self.heads)])


class Leaning(nn.Module):
    """A router of a plugin, with parameters and a loss."""

    def __init__(self, options: Any) -> None:
        super().__init__()
        self.k = options["k"]
        self.weight = nn.Parameter(torch.zeros(options["number"], options["hidden"]))
        self.lean = nn.Parameter(torch.linspace(0, 0.1, options["number"]))

    def forward(self, layout: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        shares = (hidden.float() @ self.weight.float().T + self.lean).softmax(-1)
        gates, experts = shares.topk(self.k, -1)
        return experts, gates / gates.sum(-1, keepdim=True), shares.square().sum(-1).mean()


REGISTRY = Parts(
    numbers=Numbers,
    scaled=Scaled,
    peeking=Peeking,
    sampling=Sampling,
    whole_heads=WholeHeads,
    leaning=Leaning,
)
ALL_NEEDS = ModelNeeds(
    NEEDS.adapters,
    (*NEEDS.heads, Part("numbers")),
    (*NEEDS.criteria, Part("scaled"), Part("contrastive")),
    NEEDS.tasks,
)


def build(**options: Any) -> UniversalModel:
    """Three layers on each side; weights large enough for every path to matter."""
    built = model(ALL_NEEDS, registry=REGISTRY, **{**LAYERS, **options})
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.dim() > 1:
                parameter.mul_(0.6)
    return built


# ---------------------------------------------------------------- data


def numbers_of(batch: Batch, samples: Sequence[Sample], rng: np.random.Generator) -> TermGroup:
    """A term on all positions of the encoder."""
    assert batch.source is not None
    lengths = torch.bincount(
        batch.source.layout.sequence, minlength=batch.source.layout.sequences
    ).tolist()
    holders = tuple(number for number, sample in enumerate(samples) if sample.source)
    labels = torch.from_numpy(rng.normal(size=(sum(lengths), 2)).astype(np.float32))
    return TermGroup(
        "numbers",
        "scaled",
        "source",
        {},
        (),
        torch.arange(sum(lengths)),
        tuple(lengths),
        {"y": labels},
        {"y": tuple(lengths)},
        tuple(f"{samples[i].task}/x" for i in holders),
        tuple(lengths),
        (0.5,) * len(lengths),
        holders,
    )


def micro_batch(samples: Sequence[Sample], rng: np.random.Generator, packed: bool = False) -> Batch:
    """Words on the target, numbers on the source."""
    batch = collate(samples, [[list(range(len(samples)))]] if packed else None)
    if batch.source is None:
        return batch
    if packed:
        batch = with_source_rows(batch, [[list(range(batch.source.layout.sequences))]])
    return replace(batch, terms=(*batch.terms, numbers_of(batch, samples, rng)))


def encoder_only(batch: Batch) -> Batch:
    """The same without a target."""
    return replace(batch, target=None, terms=batch.terms[1:])


def pairs(count: int, rng: np.random.Generator, first: int) -> Batch:
    """Two encoder rows for each pair, to be matched over the step."""
    samples = [random_sample(rng) for _ in range(2 * count)]
    batch = collate(samples)
    assert batch.source is not None
    lengths = tuple(torch.bincount(batch.source.layout.sequence).tolist())
    number = torch.arange(2 * count) + 2 * first
    ones = (1,) * len(samples)
    labels = {"pair": number // 2, "side": number % 2, "identity": number}
    group = TermGroup(
        "pooled",
        "contrastive",
        "source",
        {},
        (),
        torch.arange(sum(lengths)),
        lengths,
        labels,
        dict.fromkeys(labels, ones),
        ("t/m",) * len(samples),
        ones,
        (1.0,) * len(samples),
        tuple(range(len(samples))),
    )
    return replace(batch, target=None, terms=(group,))


def step_of(number: int, batches: Sequence[Batch]) -> Step:
    """Counts are those of all batches."""
    counts: dict[str, int] = {}
    for group in (group for batch in batches for group in batch.terms):
        for term, count in zip(group.terms, group.counts, strict=True):
            counts[term] = counts.get(term, 0) + count
    return whole_step(number, batches, counts)


def steps(count: int, packed: bool = True, contrast: bool = False) -> list[Step]:
    """Micro-batches of all kinds and lengths, an empty one among them."""
    found = []
    for number in range(count):
        rng = np.random.default_rng(number)
        sizes = (3, 1, 4, 2)
        batches = [
            micro_batch(
                [random_sample(rng, task="tu"[i % 2]) for i in range(size)],
                rng,
                packed and size == 4,
            )
            for size in sizes
        ]
        mixed = [random_sample(rng, source=i != 1, task="u") for i in range(3)]
        alone = [random_sample(rng, source=False)]
        batches += [micro_batch(mixed, rng), micro_batch(alone, rng), encoder_only(batches[0])]
        batches += [Batch(None, None, (), ())] + (
            [pairs(2, rng, 0), pairs(3, rng, 2)] if contrast else []
        )
        found.append(step_of(number, batches))
    return found


# ---------------------------------------------------------------- the plain way


@dataclass
class Course:
    """A short training."""

    start: dict[str, Tensor]
    """Portable state before it."""
    losses: list[float]
    """Without the balance of routers, which no count divides."""
    gradients: list[dict[str, Tensor]]
    """Of every step, by portable name, zeros where there is none."""
    untouched: list[set[str]]
    """Of every step: parameters without a gradient."""
    norms: list[float]
    end: dict[str, Tensor]


def matched(built: UniversalModel, batches: Sequence[Batch]) -> list[tuple[TermGroup, Loss]]:
    """The contrast over all micro-batches at once."""
    wide = [
        (batch, group)
        for batch in batches
        for group in batch.terms
        if group.criterion == "contrastive"
    ]
    if not wide:
        return []
    predictions = [built.predict(group, built.hidden(batch)) for batch, group in wide]
    joined = join_groups([group for _, group in wide], [0] * len(wide))
    return [(joined, built.loss(joined, torch.cat(predictions)))]


def portable_gradients(
    built: UniversalModel, gradients: Mapping[str, Tensor | None]
) -> dict[str, Tensor]:
    """Gradients in the form of a portable state, whatever the layout in memory."""
    kept = {name: p.data for name, p in built.named_parameters()}
    for name, parameter in built.named_parameters():
        gradient = gradients.get(name)
        parameter.data = (
            torch.zeros_like(kept[name]) if gradient is None else gradient.to(parameter.dtype)
        )
    found = built.portable_state()
    for name, parameter in built.named_parameters():
        parameter.data = kept[name]
    return {name: found[name] for name in found if found[name].is_floating_point()}


def plain_course(built: UniversalModel, data: Sequence[Step]) -> Course:
    """Plain autograd and gradient descent on one process."""
    course = Course(built.portable_state(), [], [], [], [], {})
    for step in data:
        built.zero_grad(set_to_none=True)
        total, reported = torch.zeros(()), 0.0
        samples = sum(len(batch.samples) for batch in step.batches)
        found = [pair for batch in step.batches for pair in built.losses(batch)] + matched(
            built, step.batches
        )
        for group, loss in found:
            counts = torch.tensor([step.counts.get(term, samples) for term in group.terms])
            share = (loss.values * torch.tensor(group.weights) / counts).sum()
            reported += 0.0 if group.terms == ("balance",) else float(share.detach())
            total = total + share
        total.backward()
        course.losses.append(reported)
        course.gradients.append(
            portable_gradients(built, {n: p.grad for n, p in built.named_parameters()})
        )
        course.untouched.append({name for name, p in built.named_parameters() if p.grad is None})
        norms = torch.stack([p.grad.norm() for p in built.parameters() if p.grad is not None])
        course.norms.append(float(norms.norm()))
        with torch.no_grad():
            for parameter in built.parameters():
                if parameter.grad is not None:
                    parameter -= RATE * parameter.grad
    course.end = built.portable_state()
    return course


__all__ = [
    "ALL_NEEDS",
    "RATE",
    "REGISTRY",
    "VOCABULARY",
    "Course",
    "build",
    "plain_course",
    "steps",
]
