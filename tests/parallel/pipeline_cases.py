"""Cases of pipelines that every rank of a launch runs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ofacore import Generalist, Task
from ofacore.batching.cursor import Cursor
from ofacore.batching.steps import StepLoader
from ofacore.config.model_section import LoraConfig
from ofacore.config.train_section import FaultConfig, OptimizerConfig
from ofacore.generalist.fitting import loader_settings, schedule, training_data
from ofacore.ground.errors import UserError
from ofacore.model.item_needs import ModelNeeds, Part
from ofacore.model.pipeline.stages import cut_model
from ofacore.model.universal import UniversalModel
from ofacore.parallel import process_groups as groups
from ofacore.parallel.process_grid import ProcessGrid
from ofacore.protocols import Batch
from ofacore.training.callbacks.base import Callback
from ofacore.training.gradients import GradientPass, StepGradient
from ofacore.training.loop import Trainer
from ofacore.training.optim.optimizer import RunOptimizer
from ofacore.training.pipelined import PipelinePass
from ofacore.training.step.faults import FaultCounters
from tests.generalist.test_generalist import FORMS, ROWS, SMALL
from tests.model.layouts import VOCABULARY, small
from tests.parallel.layout_cases import (
    SGD,
    alone,
    difference,
    known_courses,
    restart,
    several,
    share,
    total,
)
from tests.parallel.staged import (
    ALL_NEEDS,
    REGISTRY,
    Course,
    build,
    portable_gradients,
    step_of,
    steps,
)
from tests.parallel.whole_run import run
from tests.training.small import Step

MODELS: dict[str, dict[str, Any]] = {
    "rotary": {"experts": "modality"},
    "untied": {
        "positions": "untied",
        "experts": "task",
        "tied_head": False,
        "checkpoint_activations": True,
    },
    "shared": {
        "positions": "untied",
        "share_attn_bias": True,
        "norm": "post",
        "scale_attn": True,
        "scale_fc": True,
        "scale_heads": True,
        "scale_resids": True,
        "qk_norm": False,
    },
    "entangled": {"positions": "untied", "entangle_positions": True, "norm_type": "rmsnorm"},
    "learned": {"experts": "topk", "experts_k": 2, "experts_number": 3},
    "leaning": {"experts": "leaning", "experts_k": 2, "experts_number": 3},
    "biased": {
        "positions": "untied",
        "output_bias": True,
        "separator": False,
        "norm_per_adapter": True,
    },
    "nothing to train on the last stage": {
        "lora": LoraConfig(rank=2, alpha=0.1, targets=("encoder",))
    },
    "nothing to train before it": {"lora": LoraConfig(rank=2, alpha=0.1, targets=("decoder.2",))},
}

MIXED = ("image to text", "text to motion", "motion to text", "box", "repeat", "decoder only")


def cut(built: UniversalModel, start: dict[str, Tensor] | None = None) -> UniversalModel:
    """This process's stage of a model."""
    cut_model(built, groups.pipeline_size(), groups.pipeline_rank())
    if start is not None:
        built.load_portable(start)
    return built


def passing(
    built: UniversalModel,
    config: OptimizerConfig = SGD,
    seed: int = 1,
    faults: FaultConfig | None = None,
) -> tuple[GradientPass, RunOptimizer]:
    """The pass that a model needs, whole or cut."""
    optimizer = RunOptimizer(built, config)
    kind = PipelinePass if built.stage else GradientPass
    faults = faults or FaultConfig()
    return kind(built, optimizer, faults, FaultCounters(faults), seed), optimizer


def gradients(built: UniversalModel, optimizer: RunOptimizer) -> dict[str, Tensor]:
    return portable_gradients(
        built, {name: master.grad for name, master in optimizer.masters.items()}
    )


def compare(name: str, layout: ProcessGrid, data: list[Step], course: Course) -> dict[str, float]:
    """Largest differences from plain training, over all ranks."""
    restart(layout)
    built = cut(build(**MODELS[name]), course.start)
    passes, optimizer = passing(built)
    found = {"loss": 0.0, "gradient": 0.0, "missing": 0.0, "state": 0.0, "norm": 0.0}
    for number, step in enumerate(data):
        result = passes.run(share(step))
        found["loss"] = max(found["loss"], abs(total(result.values) - course.losses[number]))
        found["norm"] = max(found["norm"], abs(result.norm / course.norms[number] - 1))
        found["gradient"] = max(
            found["gradient"], difference(gradients(built, optimizer), course.gradients[number])
        )
        missing = {name for name, master in optimizer.masters.items() if master.grad is None}
        found["missing"] += len(missing ^ (course.untouched[number] & set(optimizer.masters)))
        optimizer.step(1.0)
        optimizer.zero_grad()
    found["state"] = difference(built.portable_state(), course.end)
    return found


def layout_case(models: Sequence[str] = tuple(MODELS), **sizes: Any) -> dict[str, dict[str, float]]:
    where = ProcessGrid(dist.get_world_size(), **sizes)
    coupled = ("learned", "leaning")
    data = {
        name: (several(name), "untied" not in str(MODELS[name]), name not in coupled)
        for name in models
    }
    settings = [(MODELS[name], data[name]) for name in models]
    known = zip(models, known_courses(settings), strict=True)
    return {name: compare(name, where, *each) for name, each in known}


# ---------------------------------------------------------------- faults


def with_label(step: Step, place: int, value: float) -> Step:
    """The first label of the numbers of one micro-batch is another."""
    batch = step.batches[place]
    group = next(group for group in batch.terms if group.criterion == "scaled")
    labels = {"y": group.labels["y"].clone()}
    labels["y"][0, 0] = value
    terms = tuple(replace(each, labels=labels) if each is group else each for each in batch.terms)
    return in_place_of(step, place, replace(batch, terms=terms))


def with_feature(step: Step, place: int, value: float) -> Step:
    """The first number that enters the source of one micro-batch is another."""
    batch = step.batches[place]
    assert batch.source is not None
    call = next(call for call in batch.source.calls if call.adapter == "grid")
    features = {"values": call.features["values"].clone()}
    features["values"][0, 0] = value
    calls = tuple(
        replace(each, features=features) if each is call else each for each in batch.source.calls
    )
    return in_place_of(step, place, replace(batch, source=replace(batch.source, calls=calls)))


def in_place_of(step: Step, place: int, batch: Batch) -> Step:
    return replace(step, batches=[*step.batches[:place], batch, *step.batches[place + 1 :]])


def outcome(
    step: Step, start: dict[str, Tensor], whole: bool
) -> tuple[dict[str, Tensor], StepGradient]:
    built = build()
    built.load_portable(start)
    passes, optimizer = passing(built if whole else cut(built))
    result = passes.run(step)
    return gradients(built, optimizer), result


def faults_case() -> dict[str, Any]:
    """All ways of going wrong give what one process gives."""
    (good,) = steps(1, packed=False)
    wrong = {
        "label": with_label(good, 0, torch.nan),
        "alone": with_label(good, 1, torch.nan),
        "feature": with_feature(good, 2, torch.nan),
        "gradient": with_label(good, 2, 1e19),
    }
    found: dict[str, Any] = {}
    for name, step in wrong.items():
        with alone():
            start = build().portable_state()
            expected, plain = outcome(step, start, whole=True)
        restart(ProcessGrid(dist.get_world_size(), pipeline=dist.get_world_size()))
        ours, staged = outcome(step, start, whole=False)
        found[name] = {
            "gradient": difference(ours, expected),
            "norm": abs(staged.norm - plain.norm),
            "faults": [str(f) for f in staged.faults],
            "expected": [str(f) for f in plain.faults],
        }
    return found


# ---------------------------------------------------------------- the rest


def dropout_case() -> dict[str, Any]:
    """Gradients of the same step: again, with recomputed activations, with another seed."""
    restart(ProcessGrid(dist.get_world_size(), pipeline=dist.get_world_size()))
    (step,) = steps(1)
    rates = {
        "dropout": 0.2,
        "attention_dropout": 0.1,
        "encoder_drop_path": 0.2,
        "activation_dropout": 0.1,
    }

    def found(seed: int = 1, **options: Any) -> dict[str, Tensor]:
        built = cut(build(**rates, **options)).train()
        passes, optimizer = passing(built, seed=seed)
        passes.run(step)
        return gradients(built, optimizer)

    first = found()
    return {
        "again": difference(first, found()),
        "recomputed": difference(first, found(checkpoint_activations=True)),
        "other": difference(first, found(seed=2)),
    }


def bf16_case() -> dict[str, float]:
    """Relative difference of bf16 stages from one bf16 process."""
    (step,) = steps(1)
    with alone():
        built = build()
        start = built.portable_state()
        passes, optimizer = passing(built.to_bf16())
        expected = passes.run(step), gradients(built.float(), optimizer)
    restart(ProcessGrid(dist.get_world_size(), pipeline=dist.get_world_size()))
    built = cut(build(), start).to_bf16()
    passes, optimizer = passing(built)
    result, ours = passes.run(step), gradients(built.float(), optimizer)
    apart = torch.stack([(ours[name] - value).norm() for name, value in expected[1].items()]).norm()
    return {
        "loss": abs(total(result.values) - total(expected[0].values)),
        "gradient": float(
            apart / torch.stack([value.norm() for value in expected[1].values()]).norm()
        ),
    }


def refused_case() -> dict[str, str]:
    """What every rank says of things that cannot work."""
    restart(ProcessGrid(dist.get_world_size(), pipeline=dist.get_world_size()))

    def told(action: Callable[[], Any]) -> str:
        try:
            action()
        except UserError as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def with_criterion(name: str) -> None:
        needs = ModelNeeds(
            ALL_NEEDS.adapters,
            ALL_NEEDS.heads,
            (Part("cross_entropy"), Part(name)),
            ALL_NEEDS.tasks,
        )
        passing(cut(UniversalModel(small(), REGISTRY, VOCABULARY, {}, needs)))

    def unexpected() -> None:
        (step,) = steps(1)
        batch = step.batches[0]
        group = replace(batch.terms[1], criterion="peeking")
        passing(cut(build()))[0].run(step_of(0, [replace(batch, terms=(group,))]))

    return {
        "attention": told(lambda: with_criterion("peeking")),
        "rollout": told(lambda: with_criterion("sampling")),
        "unexpected": told(unexpected),
        "stages": told(lambda: cut_model(build(), 7, 0)),
    }


def portable_case() -> dict[str, Any]:
    """A trained pipeline as a whole model: the same weights, the same losses."""
    world = dist.get_world_size()
    restart(ProcessGrid(world, pipeline=world))
    data = steps(2)
    built = cut(build(positions="untied", experts="modality"))
    passes, optimizer = passing(built, OptimizerConfig(name="muon"))
    for step in data:
        passes.run(step)
        optimizer.step(1.0)
        optimizer.zero_grad()
    state, kept = built.portable_state(), optimizer.state()
    found = passes.run(data[0]).values
    with alone():
        whole = build(positions="untied", experts="modality")
        names = set(whole.portable_state())
        whole.load_portable(state)
        again, own = passing(whole, OptimizerConfig(name="muon"))
        own.load_state(kept)
        values = again.run(data[0]).values
        unknown = {key.rpartition("|")[0] for key in kept} - names
    return {
        "names": names == set(state),
        "unknown": sorted(unknown),
        "kept": len(kept),
        "values": max(abs(values[name] - found[name]) for name in values),
    }


# ---------------------------------------------------------------- a whole run


class Curve(Callback):
    """Remembers the losses of every step."""

    name = "curve"

    def __init__(self) -> None:
        self.values: list[dict[str, float]] = []

    def on_step(self, trainer: Any, report: Any) -> None:
        self.values.append({name: v for name, v in report.values.items() if name.count("/") == 2})


def trained(folder: Path, count: int) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    """Loss curve and final weights of a mixed run with the real plugins; cut where the layout has stages."""
    tasks = [Task(name, FORMS[name], train=ROWS) for name in MIXED]
    tasks.append(Task("match", "[IMAGE:img,size=32 | TEXT:cap] ->", train=ROWS[:3]))
    generalist = Generalist.create(tasks, **{**SMALL, "encoder_layers": 2, "decoder_layers": 2})
    given = {
        "steps": count,
        "samples": 18,
        "micro_batch_samples": 4,
        "threads": 1,
        "precision": "fp32",
    }
    config = generalist.assembly.config
    section = type(config.train).model_validate({**config.train.model_dump(), **given})
    generalist.assembly.config = config.model_copy(update={"train": section})
    if groups.pipeline_size() > 1:
        cut(generalist.model)
    settings = loader_settings(section)
    loader = StepLoader(
        training_data(generalist), schedule(generalist), settings, Cursor(), 0, count
    )
    curve = Curve()
    Trainer(generalist.model, loader, section, folder, [curve]).run()
    return curve.values, generalist.model.portable_state()


def curve_case(folder: Path, count: int = 8, **sizes: Any) -> dict[str, Any]:
    """Largest difference of any loss of any step from one process."""
    with alone():
        held = [trained(folder, count) if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(held)
    assert held[0]
    plain, expected = held[0]
    restart(ProcessGrid(dist.get_world_size(), **sizes))
    ours, state = trained(folder, count)
    return {
        "steps": [len(plain), len(ours)],
        "names": [set(a) == set(b) for a, b in zip(plain, ours, strict=True)],
        "apart": max(
            abs(a[name] - b[name]) for a, b in zip(plain, ours, strict=True) for name in a
        ),
        "weights": difference(state, expected),
        "first": sum(plain[0].values()),
        "last": sum(plain[-1].values()),
    }


def resumed_case(folder: Path) -> dict[str, Any]:
    """A run of two stages, gone on with by one process and evaluated, beside a run of one process."""
    with alone():
        plain = run(folder / f"alone{dist.get_rank()}", 5)
    restart(ProcessGrid(dist.get_world_size(), pipeline=dist.get_world_size()))
    staged = run(folder / "staged", 3)
    with alone():
        resumed = run(folder / "staged", 5, resume=True) if dist.get_rank() == 0 else plain
    shared = [name for name in staged if name in plain and name[0].isdigit()]
    return {
        "names": sorted(plain.keys() ^ resumed.keys()),
        "shared": len(shared),
        "staged": max(
            abs(staged[name] - plain[name]) for name in shared if not name.startswith("3/valid")
        ),
        "resumed": max(abs(resumed[name] - value) for name, value in plain.items()),
    }


CASES: dict[str, Callable[..., Any]] = {
    "pp2": lambda: layout_case(pipeline=2),
    "pp4": lambda: layout_case(["rotary", "untied"], pipeline=4),
    "tp2pp2": lambda: layout_case(["shared"], tensor=2, pipeline=2),
    "tp2pp2sp": lambda: layout_case(["rotary", "untied"], tensor=2, pipeline=2, sequence=True),
    "pp2dp2": lambda: layout_case(["rotary", "learned", "leaning"], pipeline=2),
    "pp2ep2": lambda: layout_case(["rotary"], pipeline=2, expert=2),
    "faults": faults_case,
    "dropout": dropout_case,
    "bf16": bf16_case,
    "refused": refused_case,
    "portable": portable_case,
    "resumed": resumed_case,
    "curve2": lambda folder: curve_case(folder, pipeline=2),
    "curve4": lambda folder: curve_case(folder, tensor=2, pipeline=2),
}


def main(folder: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    groups.start(ProcessGrid(int(os.environ["WORLD_SIZE"])))
    for name in names:
        began = time.perf_counter()
        result = CASES[name](folder) if name in ("curve2", "curve4", "resumed") else CASES[name]()
        (folder / f"{name}.{dist.get_rank()}.json").write_text(json.dumps(result))
        print(f"{name}: {time.perf_counter() - began:.1f} s", flush=True)
    groups.stop()
