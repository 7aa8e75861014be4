"""A token model on equally long samples: what the cost model computes, and the same for real."""

from __future__ import annotations

from typing import Any

import torch

from ofa_planner.workload import Workload
from ofacore.config.model_section import ModelConfig
from ofacore.ground.vocabulary import Block, Vocabulary
from ofacore.model.item_needs import ModelNeeds, Part
from ofacore.model.universal import UniversalModel
from ofacore.protocols import AdapterCall, Batch, BatchSide, Layout, SampleInfo, TermGroup
from tests.model.layouts import Parts

SIZES: dict[str, Any] = {
    "hidden": 64,
    "ffn": 160,
    "heads": 4,
    "encoder_layers": 2,
    "decoder_layers": 3,
}
TOKENS = 500
NEEDS = ModelNeeds((Part("token"),), (Part("tokens"),), (Part("cross_entropy"),), ("task",))


def work_of(
    source: int = 40, target: int = 24, samples: int = 3, method: Any = "adamw", **options: Any
) -> Workload:
    return Workload(
        ModelConfig(**{**SIZES, **options}), TOKENS, source, target, samples, False, method
    )


def model_of(work: Workload) -> UniversalModel:
    vocabulary = Vocabulary().extend([Block("words", work.vocabulary - 6)])
    return UniversalModel(work.config, Parts(), vocabulary, {}, NEEDS).train()


def batch_of(work: Workload, samples: int) -> Batch:
    source, target = _side(samples, work.source, False), _side(samples, work.target, True)
    target.layout.memory, target.layout.memory_rows = torch.arange(samples), source.layout.rows
    lengths, count = (work.target,) * samples, samples * work.target
    labels = torch.randint(6, TOKENS, (count,), generator=torch.Generator().manual_seed(2))
    group = TermGroup(
        "tokens",
        "cross_entropy",
        "target",
        {},
        ("words",),
        torch.arange(count),
        lengths,
        {"ids": labels},
        {"ids": lengths},
        ("task/text",) * samples,
        lengths,
        (1.0,) * samples,
        tuple(range(samples)),
    )
    return Batch(
        source, target, (group,), tuple(SampleInfo("task", str(n)) for n in range(samples))
    )


def _side(rows: int, length: int, causal: bool) -> BatchSide:
    total = rows * length
    tokens = torch.randint(6, TOKENS, (total,), generator=torch.Generator().manual_seed(length))
    sequence = torch.arange(rows).repeat_interleave(length)
    zeros, index = torch.zeros(total, dtype=torch.int64), torch.arange(total)
    layout = Layout(
        sequence,
        sequence,
        torch.arange(length).repeat(rows)[:, None].expand(-1, 3),
        torch.full((total,), causal),
        torch.ones(total, dtype=torch.bool),
        zeros,
        ("token",),
        zeros,
        ("task",),
        ("task/text",) * rows,
        (index.view(rows, length),),
        rows,
    )
    return BatchSide(
        layout, (AdapterCall("token", {"tokens": tokens}, ((length,),) * rows, index),)
    )
