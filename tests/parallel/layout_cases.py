"""Comparisons of a layout with plain training on one process, for cases that every rank of a launch runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ofacore.config.model_section import LoraConfig, PrefixConfig
from ofacore.config.train_section import FaultConfig, OptimizerConfig
from ofacore.model.universal import UniversalModel
from ofacore.parallel import process_groups as groups
from ofacore.parallel.megatron import megatron
from ofacore.parallel.process_grid import ProcessGrid
from ofacore.parallel.sharded_optimizer import whole_of
from ofacore.training.gradients import GradientPass
from ofacore.training.optim.optimizer import RunOptimizer
from ofacore.training.state.portable_state import divided
from ofacore.training.step.faults import FaultCounters
from tests.parallel.staged import (
    RATE,
    Course,
    build,
    plain_course,
    portable_gradients,
    step_of,
    steps,
)
from tests.training.small import Step

MODELS: dict[str, dict[str, Any]] = {
    "rotary": {"experts": "modality", "experts_balance": 0.0},
    "untied": {
        "positions": "untied",
        "experts": "task",
        "tied_head": False,
        "checkpoint_activations": True,
        "scale_heads": True,
        "scale_fc": True,
        "scale_attn": True,
        "scale_resids": True,
        "qk_norm": False,
    },
    "post": {
        "positions": "untied",
        "share_attn_bias": True,
        "norm": "post",
        "norm_type": "rmsnorm",
    },
    "entangled": {"positions": "untied", "entangle_positions": True, "scale_resids": True},
    "learned": {"experts": "topk", "experts_k": 2, "experts_number": 3},
    "shared": {"experts": "modality", "experts_ffn": 16, "experts_shared": 32},
    "leaning": {"experts": "leaning", "experts_k": 2, "experts_number": 3},
    "lora": {
        "positions": "untied",
        "lora": LoraConfig(rank=2, alpha=0.1),
        "prefix": PrefixConfig(length=3),
    },
    "low-rank experts": {"experts": "modality", "lora": LoraConfig(rank=2, alpha=0.1)},
    "frozen encoder": {
        "experts": "modality",
        "lora": LoraConfig(rank=2, alpha=0.1, targets=("decoder",)),
    },
    "whole heads": {"positions": "whole_heads"},
    "biased": {"positions": "untied", "output_bias": True, "separator": False},
}
TWO_LAYERS = {"encoder_layers": 2, "decoder_layers": 2}
SGD = OptimizerConfig(name="sgd", lr=RATE, weight_decay=0.0, clip=0.0)


_made: dict[tuple[int, ...], dict[str, Any]] = {}
"""Sizes -> the groups that were made for them: each group of gloo costs threads that are never given back."""


def restart(layout: ProcessGrid) -> None:
    """Other groups over the same processes."""
    state = megatron("parallel_state")
    sizes = layout.world, layout.tensor, layout.pipeline, layout.expert
    if sizes in _made:
        vars(state).update(_made[sizes])
        groups._running.layout = layout
        return
    if state.model_parallel_is_initialized():
        state.destroy_model_parallel()
    groups._running.layout = ProcessGrid()
    groups.start(layout)
    _made[sizes] = {
        name: value
        for name, value in vars(state).items()
        if name.startswith("_") and name.isupper()
    }


@contextmanager
def alone() -> Iterator[None]:
    """Work as if there were no other process."""
    restart(ProcessGrid(dist.get_world_size()))
    groups._running.layout = ProcessGrid()
    yield


def passing(model: UniversalModel, config: OptimizerConfig) -> tuple[GradientPass, RunOptimizer]:
    optimizer = RunOptimizer(model, config)
    return GradientPass(model, optimizer, FaultConfig(), FaultCounters(FaultConfig()), 1), optimizer


def share(step: Step) -> Step:
    """The micro-batches of this data rank, with their own counts."""
    return step_of(step.number, step.batches[groups.data_rank() :: groups.data_size()])


def total(values: dict[str, float]) -> float:
    """The step's total from its report; terms on the source weigh half."""
    terms = {name: value for name, value in values.items() if name.count("/") == 2}
    return sum(value * (0.5 if name.endswith("/x") else 1.0) for name, value in terms.items())


def difference(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    """Largest of all elements; infinite where names differ."""
    if left.keys() != right.keys():
        return float("inf")
    return max(float((left[name] - right[name]).abs().max()) for name in left if left[name].numel())


@torch.no_grad()
def decided(model: UniversalModel) -> UniversalModel:
    """Routers that hardly ever see a tie, which rounding would break one way or the other; low ranks and biases of
    logits that count."""
    if model.embedding.bias is not None:
        model.embedding.bias.normal_(generator=torch.Generator().manual_seed(5))
    for name, parameter in model.named_parameters():
        if ".router." in name:
            parameter.mul_(30)
        if name.endswith("low_rank.up"):
            parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    return model


_known: dict[str, Course] = {}
"""Plain trainings, which many layouts are compared with."""
Setting = tuple[dict[str, Any], tuple[Any, ...]]
"""Options of a model, and arguments of `tests.parallel.staged.steps`."""


def several(name: str) -> int:
    """Steps that a model takes: one of them goes on after the first, whose weights tell the rest."""
    return 2 if name == "rotary" else 1


def known_courses(settings: Sequence[Setting]) -> list[tuple[list[Step], Course]]:
    """Steps, and the plain training of a model on them, made once: every rank makes some, for all of them."""
    keys = [repr((sorted(options.items()), data)) for options, data in settings]
    new = [(key, setting) for key, setting in zip(keys, settings, strict=True) if key not in _known]
    with alone():
        mine = new[dist.get_rank() :: dist.get_world_size()]
        made = {
            key: plain_course(decided(build(**options)), steps(*data))
            for key, (options, data) in mine
        }
    everyones: list[dict[str, Course]] = [{} for _ in range(dist.get_world_size())]
    dist.all_gather_object(everyones, made)
    for found in everyones:
        _known.update(found)
    return [(steps(*data), _known[key]) for key, (_, data) in zip(keys, settings, strict=True)]


def plain_training(
    options: dict[str, Any], data: list[Step], build: Callable[..., UniversalModel] = build
) -> Course:
    with alone():
        return plain_course(decided(build(**options)), data)


def compare(
    options: dict[str, Any],
    layout: ProcessGrid,
    data: list[Step],
    course: Course,
    build: Callable[..., UniversalModel] = build,
) -> dict[str, float]:
    """Largest differences from plain training, and how many parameters have a gradient where they should not."""
    restart(layout)
    model = build(**options)
    model.shard()
    model.load_portable(course.start)
    passes, optimizer = passing(model, SGD)
    worst = {"loss": 0.0, "gradient": 0.0, "norm": 0.0, "state": 0.0, "missing": 0.0}
    for number, step in enumerate(data):
        found = passes.run(share(step))
        gradients = {name: master.grad for name, master in optimizer.masters.items()}
        worst["loss"] = max(worst["loss"], abs(total(found.values) - course.losses[number]))
        ours = (
            sharded_gradients(model, optimizer)
            if layout.fsdp
            else portable_gradients(model, gradients)
        )
        expected = course.gradients[number]
        if layout.fsdp:  # what is frozen has no master
            expected = {name: expected[name] for name in ours}
        worst["gradient"] = max(worst["gradient"], difference(ours, expected))
        worst["norm"] = max(worst["norm"], abs(found.norm - course.norms[number]))
        absent = {name for name, gradient in gradients.items() if gradient is None}
        worst["missing"] += len(absent ^ (course.untouched[number] & set(gradients)))
        optimizer.step(1.0)
        optimizer.zero_grad()
    worst["state"] = difference(model.portable_state(), course.end)
    return worst


def sharded_gradients(model: UniversalModel, optimizer: RunOptimizer) -> dict[str, Tensor]:
    """By portable name, zeros where there is none, of a model that FSDP shards."""
    found: dict[str, Tensor] = {}
    for name, master in optimizer.masters.items():
        gradient = torch.zeros_like(master) if master.grad is None else master.grad
        parts = divided(model.portable_rows(name), gradient) if gradient.ndim else {name: gradient}
        found.update(
            {part: whole_of(value, optimizer.parameters[name]) for part, value in parts.items()}
        )
    return found


def gradients_case(layout: dict[str, Any], models: list[str]) -> dict[str, dict[str, float]]:
    where = ProcessGrid(dist.get_world_size(), **layout)
    options = {name: {**MODELS[name], **TWO_LAYERS} for name in models}
    known = known_courses(
        [
            (options[name], (several(name), True, name not in ("learned", "leaning")))
            for name in models
        ]
    )
    return {
        name: compare(options[name], where, *each) for name, each in zip(models, known, strict=True)
    }
