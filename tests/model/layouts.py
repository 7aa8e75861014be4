"""Small batches built directly from the contract, for tests of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ofa_positions_untied.manifest import MANIFEST as UNTIED
from ofacore.components.manifest import MANIFEST as CORE
from ofacore.config.model_section import ModelConfig
from ofacore.ground.vocabulary import Block, Vocabulary
from ofacore.model.item_needs import ModelNeeds, Part
from ofacore.model.universal import UniversalModel
from ofacore.parts import Contrastive, CrossEntropy, EmbeddingHead, TokenAdapter, TokenHead
from ofacore.plugin import Component, Registry
from ofacore.protocols import (
    AdapterCall,
    Batch,
    BatchSide,
    BuildContext,
    Layout,
    SampleInfo,
    TermGroup,
)

VOCABULARY = Vocabulary().extend([Block("words", 40), Block("bins", 20)])


@dataclass(frozen=True)
class Chunk:
    """One piece: tokens, or a grid of numbers."""

    values: np.ndarray
    """int64 [n] tokens, or float32 [rows * columns, 5]."""
    grid: tuple[int, int] = (0, 0)
    causal: bool = False
    visible: bool = True
    adapter: str = "token"

    @property
    def length(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Sample:
    source: tuple[Chunk, ...]
    target: tuple[Chunk, ...]
    task: str = "t"
    labels: Mapping[str, Any] = field(default_factory=dict)


class GridAdapter(nn.Module):
    """Numbers on a grid."""

    axes = 3

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        self.linear = nn.Linear(5, context.hidden)

    def embed(self, features: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        return self.linear(features["values"])


class PlaceRouter:
    """Experts in turn, by place."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.number = options["number"]

    def __call__(self, layout: Layout, hidden: Tensor) -> tuple[Tensor, Tensor]:
        experts = layout.coordinates[:, :1] % self.number
        return experts, torch.ones(experts.shape)


INSTALLED = Registry.of(CORE, UNTIED)


class Parts:
    """A registry of the parts that tests use; more can be given."""

    def __init__(self, **more: Any) -> None:
        self.known = {
            "token": TokenAdapter,
            "grid": GridAdapter,
            "tokens": TokenHead,
            "cross_entropy": CrossEntropy,
            "pooled": EmbeddingHead,
            "contrastive": Contrastive,
            "place": PlaceRouter,
            **more,
        }

    def load(self, kind: str, name: str) -> Any:
        return self.known[name] if name in self.known else INSTALLED.load(kind, name)

    def component(self, kind: str, name: str) -> Component:
        return Component(kind, name, "") if name in self.known else INSTALLED.component(kind, name)


NEEDS = ModelNeeds(
    (Part("token"), Part("grid")),
    (Part("tokens"), Part("pooled")),
    (Part("cross_entropy"),),
    ("t", "u"),
)


def small(**options: Any) -> ModelConfig:
    sizes = {
        "hidden": 32,
        "ffn": 48,
        "heads": 4,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "dropout": 0.0,
    }
    return ModelConfig(**{**sizes, "max_positions": 64, **options})


def model(
    needs: ModelNeeds = NEEDS,
    vocabulary: Vocabulary = VOCABULARY,
    registry: Any = None,
    **options: Any,
) -> UniversalModel:
    """A model whose weights are large enough for every path to matter."""
    built = UniversalModel(small(**options), registry or Parts(), vocabulary, {}, needs)
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            generator = torch.Generator().manual_seed(sum(name.encode()))
            if parameter.dim() > 1:
                parameter.mul_(5)
            else:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return built


def random_sample(
    rng: np.random.Generator, source: bool = True, dense: bool = True, task: str = "t"
) -> Sample:
    def chunk(causal: bool, grids: bool = dense) -> Chunk:
        if grids and rng.random() < 0.4:
            grid = (int(rng.integers(1, 3)), int(rng.integers(1, 4)))
            values = rng.normal(size=(grid[0] * grid[1], 5)).astype(np.float32)
            return Chunk(values, grid, adapter="grid", visible=bool(rng.random() < 0.7))
        return Chunk(rng.integers(6, 66, int(rng.integers(1, 7))), causal=causal)

    sources = tuple(chunk(False) for _ in range(int(rng.integers(1, 4)))) if source else ()
    targets = tuple(chunk(True) for _ in range(int(rng.integers(0, 3)))) + (chunk(True, False),)
    return Sample(sources, targets, task)


def coordinates(chunks: Sequence[Chunk]) -> np.ndarray:
    parts, start = [], 0
    for chunk in chunks:
        if chunk.adapter == "token":
            own = np.repeat(np.arange(chunk.length)[:, None], 3, 1)
        else:
            y, x = np.divmod(np.arange(chunk.length), chunk.grid[1])
            own = np.stack([np.zeros_like(y), y, x], 1)
        parts.append(own + start)
        start = int(parts[-1].max()) + 1
    return np.concatenate(parts) if parts else np.zeros((0, 3), np.int64)


def _rows(groups: Sequence[Sequence[Sequence[int]]], spans: Sequence[range]) -> tuple[Tensor, ...]:
    result = []
    for group in groups:
        rows = [[position for index in row for position in spans[index]] for row in group]
        width = max(len(row) for row in rows)
        result.append(
            torch.tensor(
                [row + [-1] * (width - len(row)) for row in rows], dtype=torch.int64
            ).reshape(len(rows), width)
        )
    return tuple(result)


def _side(
    all_chunks: Sequence[Sequence[Chunk]], tasks: Sequence[str], groups: Any
) -> tuple[BatchSide, list[range]]:
    names, task_names = ("token", "grid"), tuple(sorted(set(tasks)))
    spans, columns, offset, segment = [], [], 0, 0
    calls: dict[str, tuple[list, list, list]] = {}
    for sequence, chunks in enumerate(all_chunks):
        begin, where = offset, coordinates(chunks)
        for chunk in chunks:
            columns += [
                (
                    sequence,
                    segment,
                    chunk.causal,
                    chunk.visible,
                    names.index(chunk.adapter),
                    task_names.index(tasks[sequence]),
                )
            ] * chunk.length
            values, shapes, index = calls.setdefault(chunk.adapter, ([], [], []))
            values.append(chunk.values)
            shapes.append(chunk.grid if chunk.adapter == "grid" else (chunk.length,))
            index += range(offset, offset + chunk.length)
            offset, segment = offset + chunk.length, segment + 1
        columns[begin:] = [
            (*column, *place) for column, place in zip(columns[begin:], where.tolist(), strict=True)
        ]
        spans.append(range(begin, offset))
    table = torch.tensor(columns, dtype=torch.int64).reshape(-1, 9)
    layout = Layout(
        table[:, 0],
        table[:, 1],
        table[:, 6:9],
        table[:, 2].bool(),
        table[:, 3].bool(),
        table[:, 4],
        names,
        table[:, 5],
        task_names,
        ("",) * segment,
        _rows(groups, spans),
        len(all_chunks),
    )
    built = tuple(
        AdapterCall(
            name,
            {"tokens" if name == "token" else "values": torch.from_numpy(np.concatenate(values))},
            tuple(shapes),
            torch.tensor(index),
        )
        for name, (values, shapes, index) in calls.items()
    )
    return BatchSide(layout, built), spans


def collate(
    samples: Sequence[Sample], groups: Sequence[Sequence[Sequence[int]]] | None = None
) -> Batch:
    """One micro-batch. ``groups``: attention groups -> rows -> samples; default: one group, a sample in each row."""
    groups = groups or [[[index] for index in range(len(samples))]]
    tasks = [sample.task for sample in samples]
    with_source = [index for index, sample in enumerate(samples) if sample.source]
    number = {index: place for place, index in enumerate(with_source)}
    source_groups = [[[index] for index in range(len(with_source))]]
    source, spans = (
        _side(
            [samples[i].source for i in with_source], [tasks[i] for i in with_source], source_groups
        )
        if with_source
        else (None, [])
    )
    target, target_spans = _side([sample.target for sample in samples], tasks, groups)
    target.layout.memory = torch.tensor([number.get(index, -1) for index in range(len(samples))])
    memory = [
        [
            [position for index in row if index in number for position in spans[number[index]]]
            for row in group
        ]
        for group in groups
    ]
    target.layout.memory_rows = tuple(
        torch.tensor(
            [row + [-1] * (max(map(len, rows)) - len(row)) for row in rows], dtype=torch.int64
        ).reshape(len(rows), -1)
        for rows in memory
    )
    return Batch(
        source,
        target,
        (_terms(samples, target_spans),),
        tuple(SampleInfo(s.task, str(i)) for i, s in enumerate(samples)),
    )


def _terms(samples: Sequence[Sample], spans: Sequence[range]) -> TermGroup:
    """Cross-entropy on the last chunk, which is made of tokens."""
    index, ids, lengths = [], [], []
    for sample, span in zip(samples, spans, strict=True):
        last = sample.target[-1]
        index += range(span.stop - last.length, span.stop)
        ids.append((last.values * 7 + 3) % 40 + 6)
        lengths.append(last.length)
    return TermGroup(
        "tokens",
        "cross_entropy",
        "target",
        {},
        ("words",),
        torch.tensor(index),
        tuple(lengths),
        {"ids": torch.from_numpy(np.concatenate(ids))},
        {"ids": tuple(lengths)},
        tuple(f"{s.task}/y" for s in samples),
        tuple(lengths),
        (1.0,) * len(samples),
        tuple(range(len(samples))),
    )


def with_source_rows(batch: Batch, groups: Sequence[Sequence[Sequence[int]]]) -> Batch:
    """The same batch with other rows on its source."""
    assert batch.source is not None
    layout = batch.source.layout
    spans = [
        range(int((layout.sequence < s).sum()), int((layout.sequence <= s).sum()))
        for s in range(layout.sequences)
    ]
    return replace(
        batch, source=BatchSide(replace(layout, rows=_rows(groups, spans)), batch.source.calls)
    )


def per_sample(batch: Batch, hidden: Tensor) -> list[Tensor]:
    """Target states of each sample."""
    assert batch.target is not None
    return list(
        hidden.split(
            torch.bincount(batch.target.layout.sequence, minlength=len(batch.samples)).tolist()
        )
    )
