"""More cases of `tests.parallel.layout_cases`: optimisers, faults, dropout, decoding, whole runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_reduce

from ofacore.config.train_section import FaultConfig, OptimizerConfig
from ofacore.model.universal import UniversalModel
from ofacore.parallel import process_groups as groups
from ofacore.parallel.agreement import check_started_alike
from ofacore.parallel.process_grid import ProcessGrid
from ofacore.parallel.sharding import is_partial, split_dim
from ofacore.parts import CrossEntropy
from ofacore.protocols import AdapterCall, Batch, CriterionContext, HeadContext
from ofacore.training.gradients import GradientPass
from ofacore.training.optim.ema import Ema
from ofacore.training.optim.optimizer import RunOptimizer
from ofacore.training.step.faults import FaultCounters
from tests.model import layouts
from tests.model.layouts import (
    Chunk,
    GridAdapter,
    Parts,
    Sample,
    collate,
    coordinates,
    random_sample,
)
from tests.parallel.layout_cases import (
    MODELS,
    SGD,
    alone,
    compare,
    decided,
    difference,
    passing,
    plain_training,
    restart,
    share,
)
from tests.parallel.staged import ALL_NEEDS, REGISTRY, build, micro_batch, step_of, steps
from tests.training.small import SmallModel, make_samples
from tests.training.small import step_of as small_step

ADAMW = OptimizerConfig(name="adamw", lr=1e-2, eps=1e-2, clip=0.5)
SHALLOW = {"encoder_layers": 1, "decoder_layers": 1}
"""Where every layer is as the next."""
MUON = OptimizerConfig(name="muon", lr=1e-2, eps=1e-2, clip=0.5)


# ---------------------------------------------------------------- optimisers


def trained(
    model: UniversalModel, config: OptimizerConfig, data: Iterable[Any], start: Any = None
) -> dict[str, Any]:
    """Weights, optimiser state and averages after some steps, as one process would store them."""
    passes, optimizer = passing(model, config)
    ema = Ema(optimizer.parameters, 0.5, model.portable_rows)
    if start is not None:
        optimizer.load_state(start["optimizer"])
        ema.load_state(start["ema"])
    norms = []
    for number, step in enumerate(data):
        norms.append(torch.tensor(passes.run(share(step)).norm))
        optimizer.clip(float(norms[-1]))
        optimizer.step(1.0)
        ema.update(number + 1, optimizer.values())
        optimizer.zero_grad()
    state = {"weights": model.portable_state(), "optimizer": optimizer.state(), "ema": ema.state()}
    return {**state, "norms": {str(i): norm for i, norm in enumerate(norms)}}


def optimizer_case(config: OptimizerConfig, name: str, **sizes: Any) -> dict[str, float]:
    """Two steps here, one more from the state that one process stored."""
    data = steps(3)
    with alone():
        plain = decided(build(**MODELS[name], **SHALLOW))
        begun = plain.portable_state()
        first = trained(plain, config, data[:2])
        second = trained(plain, config, data[2:], first)
    restart(ProcessGrid(dist.get_world_size(), **sizes))
    model = build(**MODELS[name], **SHALLOW)
    model.shard()
    model.load_portable(begun)
    found = {
        f"first {k}": difference(v, first[k]) for k, v in trained(model, config, data[:2]).items()
    }
    model.load_portable(first["weights"])
    again = trained(model, config, data[2:], first)
    return found | {f"second {k}": difference(v, second[k]) for k, v in again.items()}


def bf16_case(**sizes: Any) -> dict[str, float]:
    """Rounded weights and fp32 masters: near one process, and equal on all data ranks."""
    data = steps(2)
    with alone():
        plain = build(**MODELS["rotary"], **SHALLOW)
        begun = plain.portable_state()
        expected = trained(plain.to_bf16(), ADAMW, data)
    restart(ProcessGrid(dist.get_world_size(), **sizes))
    model = build(**MODELS["rotary"], **SHALLOW)
    model.load_portable(begun)
    found = trained(model.to_bf16(), ADAMW, data)
    everyone: list[dict[str, Tensor]] = [{} for _ in range(dist.get_world_size())]
    dist.all_gather_object(everyone, found["weights"])
    return {
        "weights": difference(found["weights"], expected["weights"]),
        "masters": difference(found["optimizer"], expected["optimizer"]),
        "ranks": max(difference(found["weights"], other) for other in everyone),
    }


# ---------------------------------------------------------------- faults


def poisoned(step: Any, bad: int) -> Any:
    """The step with a sample whose features are not finite."""
    found = small_step(make_samples(8, seed=3), (2, 4, 6))
    batch = found.batches[bad // 2]
    lengths = [
        len(x) for x in batch.source.calls[0].features["x"].split(list(batch.terms[0].lengths))
    ]
    start = sum(lengths[: bad % 2])
    batch.source.calls[0].features["x"][start] = float("nan")
    return found


def fault_case(kind: str, scope: str = "squared") -> dict[str, Any]:
    """A fault on the last rank alone: every rank hears of it, and the gradient is that of one process.

    ``scope``: the criterion of all samples; ``contrast`` sees the whole step.
    """
    samples = make_samples(8, seed=3, scope=scope)

    def run(mine: Callable[[Any], Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        model = SmallModel()
        optimizer = RunOptimizer(model, SGD)
        counters = FaultCounters(FaultConfig())
        step = poisoned(None, 7) if kind == "nan" else small_step(samples, (2, 4, 6))
        if kind == "memory":
            model.fail_on = fails_on_pairs
        found = GradientPass(model, optimizer, FaultConfig(), counters, 1).run(mine(step))
        gradients = {n: m.grad for n, m in optimizer.masters.items() if m.grad is not None}
        return {"faults": sorted(map(str, found.faults)), "counted": counters.totals}, gradients

    def fails_on_pairs(batch: Batch) -> None:
        if (
            len(batch.samples) > 1
            and batch.samples[-1].number == 1
            and batch.samples[-1].row_id == "rows[7]"
        ):
            raise MemoryError

    def own(step: Any) -> Any:
        part = step.batches[groups.data_rank() :: groups.data_size()]
        counts: dict[str, int] = {}
        for group in (group for batch in part for group in batch.terms):
            for term, count in zip(group.terms, group.counts, strict=True):
                counts[term] = counts.get(term, 0) + count
        return replace(step, batches=part, counts=counts)

    with alone():
        told, expected = run(lambda step: step)
    restart(ProcessGrid(dist.get_world_size()))
    heard, found = run(own)
    return {"told": told, "heard": heard, "gradient": difference(expected, found)}


# ---------------------------------------------------------------- data


class Coupled(GridAdapter):
    """Takes part in communication between data ranks, which changes nothing."""

    def embed(self, features: Any, shapes: Any) -> Tensor:
        states = super().embed(features, shapes)
        if groups.data_size() == 1:
            return states
        return states + 0 * all_reduce(states.sum(), group=groups.data_group())


class CoupledParts(Parts):
    """A registry that knows which adapters communicate."""

    def component(self, kind: str, name: str) -> Any:
        return replace(super().component(kind, name), collective=name == "grid")


def coupled(**options: Any) -> UniversalModel:
    registry = CoupledParts(**{**REGISTRY.known, "grid": Coupled})
    return layouts.model(ALL_NEEDS, registry=registry, **options)


def mixed_modalities(build: Callable[..., UniversalModel] = build) -> dict[str, float]:
    """Rank 0 has text alone, rank 1 pictures alone: the gradients are those of one process."""
    rng = np.random.default_rng(5)
    words = [
        Sample((Chunk(rng.integers(6, 66, 5)),), (Chunk(rng.integers(6, 66, 4), causal=True),))
        for _ in range(3)
    ]
    grid = Chunk(rng.normal(size=(6, 5)).astype(np.float32), (2, 3), adapter="grid")
    pictures = [
        Sample((grid,), (Chunk(rng.integers(6, 66, 3), causal=True),), "u") for _ in range(2)
    ]
    more = [Sample(words[0].source, pictures[0].target), Sample((grid,), words[1].target)]
    batches = [micro_batch(words, rng), micro_batch(pictures, rng), micro_batch(more, rng)]
    data = [step_of(0, batches)]
    course = plain_training(MODELS["rotary"], data, build)
    return compare(MODELS["rotary"], ProcessGrid(dist.get_world_size()), data, course, build)


# ---------------------------------------------------------------- dropout


def dropout_case(**sizes: Any) -> dict[str, float]:
    """Everything that the tensor group shares stays equal on it, and what it splits is dropped independently."""
    restart(ProcessGrid(dist.get_world_size(), **sizes))
    rates = {
        "dropout": 0.2,
        "attention_dropout": 0.2,
        "activation_dropout": 0.2,
        "encoder_drop_path": 0.2,
    }
    model = build(**{**MODELS["untied"], **rates, **SHALLOW})
    passes, optimizer = passing(model, SGD)
    passes.run(share(steps(1)[0]))
    shared = {
        name: optimizer.masters[name].grad
        for name, parameter in optimizer.parameters.items()
        if split_dim(parameter) is None and optimizer.masters[name].grad is not None
    }
    everyone: list[dict[str, Tensor]] = [{} for _ in range(dist.get_world_size())]
    dist.all_gather_object(everyone, shared)
    scale = max(float(gradient.abs().max()) for gradient in shared.values())
    return {"unequal": max(difference(shared, other) for other in everyone) / scale}


# ---------------------------------------------------------------- decoding


@torch.no_grad()
def decoding_case(**sizes: Any) -> dict[str, float]:
    """Decoding step by step, and logits, against one process."""
    rng = np.random.default_rng(0)
    rows = [
        Sample(random_sample(rng).source, (Chunk(rng.integers(6, 66, 7), causal=True),))
        for _ in range(3)
    ]
    found = {}
    for name in ("rotary", "untied", "learned"):
        with alone():
            plain = decided(build(**MODELS[name])).eval()
            begun, expected = plain.portable_state(), stepwise(plain, rows)
        restart(ProcessGrid(dist.get_world_size(), **sizes))
        model = build(**MODELS[name]).eval()
        model.shard()
        model.load_portable(begun)
        ours = stepwise(model, rows)
        found[name] = max(float((a - b).abs().max()) for a, b in zip(expected, ours, strict=True))
    return found


def stepwise(model: UniversalModel, rows: list[Sample]) -> tuple[Tensor, Tensor]:
    batch = collate(rows)
    memory = model.hidden(batch).source
    cache = model.backbone.start_cache(
        len(rows), memory, batch.source.layout, tasks=("t",), capacity=4
    )
    tokens = torch.from_numpy(np.stack([row.target[0].values for row in rows]))
    hidden = []
    where = torch.from_numpy(coordinates(rows[0].target))
    for place in range(tokens.shape[1]):
        call = AdapterCall("token", {"tokens": tokens[:, place]}, (), torch.empty(0))
        spot = where[place].expand(len(rows), 1, 3)
        states = model.embed("target", call, spot.flatten(0, 1)).unsqueeze(1)
        hidden.append(model.backbone.extend(states, spot, cache, adapter="token"))
    states = torch.cat(hidden, 1).flatten(0, 1)
    return states, model.heads["tokens"](states, HeadContext((len(states),), ("bins",))).logits()


# ---------------------------------------------------------------- cross-entropy


def cross_entropy_case() -> dict[str, float]:
    """Smoothed labels, closed sets, blocks, and logits that do not fit the budget."""
    found = {}
    smoothed = {"label_smoothing": 0.1}
    kinds: dict[str, tuple[dict[str, float], dict[str, Any]]] = {
        "plain": ({}, {}),
        "smoothed": (smoothed, {}),
        "biased": (smoothed, MODELS["biased"]),
    }
    for name, (options, config) in kinds.items():
        for closed in (False, True):
            with alone():
                plain = decided(build(**config))
                begun, expected = plain.portable_state(), learned(plain, options, closed)
            restart(ProcessGrid(dist.get_world_size(), tensor=dist.get_world_size()))
            model = build(**config)
            model.load_portable(begun)
            ours = learned(model, options, closed)
            key = f"{name}{' closed' if closed else ''}"
            found[key] = max(
                float((a - b).abs().max()) for a, b in zip(expected, ours, strict=True)
            )
    return found


def learned(model: UniversalModel, options: dict[str, float], closed: bool) -> tuple[Tensor, ...]:
    """Losses, and gradients of states and table."""
    generator = torch.Generator().manual_seed(4)
    hidden = torch.randn(11, model.sizes.hidden, generator=generator).requires_grad_(True)
    model.embedding.begin()
    prediction = model.heads["tokens"](hidden, HeadContext((5, 6), ("bins",)))
    ids = prediction.ids[~torch.isin(prediction.ids, torch.tensor(prediction.silent))]
    labels = {"ids": ids[torch.randint(len(ids), (11,), generator=generator)]}
    if closed:
        other = ids[torch.randint(len(ids), (11, 3), generator=generator)]
        sets = [
            torch.unique(torch.cat([label[None], more]))
            for label, more in zip(labels["ids"], other, strict=True)
        ]
        labels |= {
            "allowed": torch.cat(sets),
            "allowed_lengths": torch.tensor([len(each) for each in sets]),
        }
    loss = CrossEntropy(options)(prediction, labels, CriterionContext((5, 6), {}))
    loss.values.sum().backward()
    table = model.embedding.table.weight
    with torch.no_grad():
        table.copy_(table.grad)
    rows = model.embedding.portable_state()
    logits = prediction.logits().detach().exp()
    return loss.values.detach(), *loss.parts.values(), hidden.grad, *rows.values(), logits


# ---------------------------------------------------------------- beginning


def different_start() -> dict[str, str]:
    restart(ProcessGrid(dist.get_world_size()))
    check_started_alike({"configuration": {"train": {"seed": 1}}})
    try:
        check_started_alike({"configuration": {"train": {"seed": dist.get_rank()}}})
    except Exception as error:
        return {"type": type(error).__name__, "message": str(error)}
    return {}


def marks() -> dict[str, int]:
    """How many parameters of a model are split, and how many have partial gradients under sequence parallelism."""
    restart(ProcessGrid(dist.get_world_size(), tensor=dist.get_world_size(), sequence=True))
    parameters = list(build(**MODELS["untied"]).parameters())
    return {
        "split": sum(split_dim(p) is not None for p in parameters),
        "partial": sum(map(is_partial, parameters)),
        "both": sum(split_dim(p) is not None and is_partial(p) for p in parameters),
    }


def training_case(folder: Path, steps_done: int, **sizes: Any) -> dict[str, Any]:
    """A whole run of a generalist, with the samples that this process took."""
    restart(ProcessGrid(dist.get_world_size(), **sizes))
    from tests.parallel.whole_run import run, samples_seen

    with samples_seen() as seen:
        return {**run(folder, steps_done, resume=True), "seen": seen}
