"""A real, very small model with its data: what the loop needs and no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ofacore.batching.steps import Step
from ofacore.protocols import (
    AdapterCall,
    Batch,
    BatchSide,
    CriterionContext,
    Layout,
    Loss,
    SampleInfo,
    TermGroup,
)

WIDTH = 6


@dataclass(frozen=True)
class Sample:
    task: str
    row_id: str
    features: Tensor
    labels: Tensor
    scope: str = "squared"


def make_samples(
    count: int, seed: int, tasks: Sequence[str] = ("a", "b"), scope: str = "squared"
) -> list[Sample]:
    g = torch.Generator().manual_seed(seed)
    found = []
    for number in range(count):
        length = 1 + int(torch.randint(4, (), generator=g)) if scope == "squared" else 1
        features = torch.randn(length, WIDTH, generator=g)
        labels = (
            torch.randn(length, 1, generator=g) if scope == "squared" else torch.tensor([number])
        )
        found.append(Sample(tasks[number % len(tasks)], f"rows[{number}]", features, labels, scope))
    return found


def layout(lengths: Sequence[int]) -> Layout:
    n = sum(lengths)
    zeros = torch.zeros(n, dtype=torch.long)
    sequence = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(list(lengths)))
    false = torch.zeros(n, dtype=torch.bool)
    return Layout(
        sequence,
        sequence,
        torch.zeros(n, 3, dtype=torch.long),
        false,
        ~false,
        zeros,
        ("x",),
        zeros,
        ("a",),
        ("a/y",),
        (torch.arange(n)[None],),
        len(lengths),
    )


def batch_of(samples: Sequence[Sample]) -> Batch:
    lengths = [len(s.features) for s in samples]
    features = torch.cat([s.features for s in samples])
    call = AdapterCall(
        "x", {"x": features}, tuple((n,) for n in lengths), torch.arange(len(features))
    )
    groups = []
    for scope in dict.fromkeys(s.scope for s in samples):
        mine = [i for i, s in enumerate(samples) if s.scope == scope]
        starts = [sum(lengths[:i]) for i in mine]
        index = torch.cat(
            [torch.arange(start, start + lengths[i]) for start, i in zip(starts, mine, strict=True)]
        )
        head = "score" if scope == "squared" else "vector"
        labels = torch.cat([samples[i].labels for i in mine])
        rows = tuple(lengths[i] for i in mine)
        groups.append(
            TermGroup(
                head,
                scope,
                "source",
                {},
                (),
                index,
                rows,
                {"y": labels},
                {"y": tuple(len(samples[i].labels) for i in mine)},
                tuple(f"{samples[i].task}/y" for i in mine),
                rows,
                tuple(1.0 for _ in mine),
                tuple(mine),
            )
        )
    infos = tuple(SampleInfo(s.task, s.row_id, i) for i, s in enumerate(samples))
    return Batch(BatchSide(layout(lengths), (call,)), None, tuple(groups), infos)


class Squared(nn.Module):
    scope, needs, batch_coupled = "position", frozenset[str](), False

    def forward(
        self, prediction: Tensor, labels: Mapping[str, Tensor], ctx: CriterionContext
    ) -> Loss:
        errors = (prediction.float() - labels["y"]).square().squeeze(1)
        values = torch.stack([part.sum() for part in errors.split(ctx.lengths)])
        return Loss(values, {"size": values.detach()})


class Contrast(nn.Module):
    """Items 2k and 2k + 1 belong together; the scale is learned."""

    scope, needs, batch_coupled = "step", frozenset[str](), True

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(
        self, prediction: Tensor, labels: Mapping[str, Tensor], ctx: CriterionContext
    ) -> Loss:
        scores = prediction @ prediction.T * self.scale
        scores = scores.masked_fill(torch.eye(len(scores), dtype=torch.bool), -torch.inf)
        partner = (labels["y"][:, None] == (labels["y"] ^ 1)[None]).int().argmax(1)
        return Loss(nn.functional.cross_entropy(scores, partner, reduction="none"))


class Rollout(Squared):
    needs = frozenset({"rollout"})


class SmallModel(nn.Module):
    def __init__(self, seed: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(5, WIDTH)
        self.first = nn.Linear(WIDTH, 8)
        self.norm = nn.LayerNorm(8)
        self.second = nn.Linear(8, 8)
        self.heads = nn.ModuleDict({"score": nn.Linear(8, 1), "vector": nn.Linear(8, 4)})
        self.unused = nn.Linear(3, 3)
        self.dropout = nn.Dropout(dropout)
        self.criteria = nn.ModuleDict(
            {"squared": Squared(), "contrast": Contrast(), "rollout": Rollout()}
        )
        self.fail_on: Any = None

    def criterion(self, name: str, options: Mapping[str, Any]) -> Any:
        return self.criteria[name]

    def hidden(self, batch: Batch) -> Tensor:
        if self.fail_on is not None:
            self.fail_on(batch)
        assert batch.source is not None
        x = batch.source.calls[0].features["x"].to(self.first.weight.dtype)
        x = torch.relu(self.first(self.dropout(x + self.embedding.weight[0])))
        return self.second(self.dropout(self.norm(x)))

    def predict(self, group: TermGroup, hidden: Tensor) -> Tensor:
        return self.heads[group.head](hidden.index_select(0, group.index))

    def loss(self, group: TermGroup, prediction: Any, hidden: Any = None) -> Loss:
        context = CriterionContext(group.lengths, group.label_lengths)
        return self.criteria[group.criterion](prediction, group.labels, context)

    def auxiliary(self, batch: Batch, hidden: Tensor) -> list[Any]:
        return []

    def portable_rows(self, name: str) -> dict[str, slice]:
        return {name: slice(None)}

    def portable_state(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.state_dict().items()}

    def load_portable(self, state: Mapping[str, Tensor]) -> None:
        self.load_state_dict(dict(state))


@dataclass(frozen=True)
class Position:
    """The number of the next step."""

    next: int = 0

    def state(self) -> dict[str, int]:
        return {"next": self.next}


class SmallStep(Step):
    """A step whose micro-batches are made of samples of this model."""

    def halves(self, batch: Batch) -> list[Batch]:
        return halves(batch)


class WholeStep(SmallStep):
    """Its micro-batches cannot be cut, as those of a single sample."""

    def halves(self, batch: Batch) -> list[Batch]:
        return [batch]


def whole(step: Step) -> WholeStep:
    return WholeStep(**vars(step))


def whole_step(number: int, batches: Sequence[Batch], counts: Mapping[str, int]) -> WholeStep:
    """A step of micro-batches that were made elsewhere."""
    return WholeStep(number, list(batches), counts, Position(number + 1))


def step_of(samples: Sequence[Sample], cuts: Sequence[int] = (), step: int = 0) -> Step:
    """All samples as one step, cut into micro-batches at the given places."""
    edges = [0, *sorted(set(cuts)), len(samples)]
    parts = [samples[a:b] for a, b in zip(edges, edges[1:], strict=False) if b > a]
    counts: dict[str, int] = {}
    for sample in samples:
        counts[f"{sample.task}/y"] = counts.get(f"{sample.task}/y", 0) + len(sample.features)
    return SmallStep(step, [batch_of(part) for part in parts], counts, Position(step + 1))


def loader(start: int = 0, samples: int = 8, cuts: Sequence[int] = (3,)) -> Iterator[Step]:
    """Steps for ever; each a pure function of its number."""
    step = start
    while True:
        yield step_of(make_samples(samples, seed=100 + step), cuts, step)
        step += 1


def halves(batch: Batch) -> list[Batch]:
    """Cut a micro-batch of this model in two."""
    assert batch.source is not None
    if len(batch.samples) < 2:
        return [batch]
    (group,) = batch.terms
    features = batch.source.calls[0].features["x"].split(list(group.lengths))
    labels = group.labels["y"].split(list(group.label_lengths["y"]))
    samples = [
        Sample(info.task, info.row_id, x, y, group.criterion)
        for info, x, y in zip(batch.samples, features, labels, strict=True)
    ]
    middle = len(samples) // 2
    return [batch_of(samples[:middle]), batch_of(samples[middle:])]
