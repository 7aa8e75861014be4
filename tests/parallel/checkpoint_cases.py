"""What every rank of a launch about checkpoints runs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ofacore.checkpoint import Snapshot, load, save
from ofacore.config.train_section import CheckpointConfig, OptimizerConfig, TrainConfig
from ofacore.model.pipeline.stages import cut_model
from ofacore.parallel import process_groups as groups
from ofacore.parallel.process_grid import ProcessGrid
from ofacore.training.callbacks.checkpointing import Checkpointing
from ofacore.training.loop import Trainer
from ofacore.training.state.sharded_state import restore_shards, sharded_snapshot
from tests.parallel.layout_cases import difference, restart, share
from tests.parallel.staged import build, steps

MODEL = {
    "encoder_layers": 2,
    "decoder_layers": 2,
    "experts": "modality",
    "experts_balance": 0.0,
    "tied_head": False,
}
CONFIG = TrainConfig(ema=0.5, optimizer=OptimizerConfig(name="muon", lr=1e-2))
WRITERS: dict[str, dict[str, Any]] = {
    "tensor and pipeline": {"tensor": 2, "pipeline": 2},
    "tensor and fsdp": {"tensor": 2, "fsdp": True},
    "experts and zero": {"expert": 2, "zero": True},
}
READERS: dict[str, dict[str, Any]] = {
    "pipeline": {"pipeline": 4},
    "data": {},
    "fsdp": {"fsdp": True},
    "tensor and zero": {"tensor": 2, "sequence": True, "zero": True},
    **WRITERS,
}


def trainer(folder: Path, seed: int, background: bool = False) -> Trainer:
    """A trainer under the layout that runs."""
    model = build(**MODEL)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        model.load_portable({n: _like(v, generator) for n, v in model.portable_state().items()})
    model.shard()
    if groups.pipeline_size() > 1:
        cut_model(model, groups.pipeline_size(), groups.pipeline_rank())
    saving = Checkpointing(CheckpointConfig(form="sharded", background=background))
    return Trainer(model, [], CONFIG, folder, [saving])


def _like(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return (
        torch.randn(value.shape, generator=generator) * 0.1 if value.is_floating_point() else value
    )


def write(name: str, folder: Path) -> None:
    """One step, a sharded checkpoint of it, and the whole state as one process would store it."""
    made = trainer(folder, 1, background=True)
    made.train_step(share(steps(1)[0]))
    whole = made.snapshot()
    (saving,) = made.callbacks
    assert isinstance(saving, Checkpointing)
    place = saving.save(made)
    with torch.no_grad():
        for parameter in made.model.parameters():
            parameter.mul_(2)
    saving.wait()
    if groups.is_first():
        place.rename(folder / name)
        save(folder / f"{name}, whole", whole)
    dist.barrier()


def unequal(found: Snapshot, expected: Snapshot) -> float:
    """Largest difference of weights, optimiser state and averages; infinite where names differ."""
    kinds = [
        (getattr(found, kind), getattr(expected, kind)) for kind in ("model", "optimizer", "ema")
    ]
    return max(difference(dict(ours), dict(theirs)) for ours, theirs in kinds)


def read(folder: Path, whole: Snapshot) -> float:
    """A checkpoint under the layout that runs: largest difference of what this rank then holds from its place."""
    made = trainer(folder, 2)
    restore_shards(made, folder, load(folder, tensors=False))
    pieces = sharded_snapshot(made)
    worst = 0.0
    for kind in ("model", "optimizer", "ema"):
        ours, theirs = getattr(pieces, kind), getattr(whole, kind)
        worst = max(
            worst,
            difference(ours, {name: _place(theirs[name], value) for name, value in ours.items()}),
        )
    return worst


def _place(whole: torch.Tensor, piece: torch.Tensor) -> torch.Tensor:
    """The part of a whole tensor that a piece holds."""
    (start,) = getattr(piece, "global_offsets", ((0,) * whole.ndim,))
    return whole[
        tuple(slice(first, first + size) for first, size in zip(start, piece.shape, strict=True))
    ]


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for name, sizes in WRITERS.items():
        restart(ProcessGrid(dist.get_world_size(), **sizes))
        write(name, folder)
    wholes = {writer: load(folder / f"{writer}, whole") for writer in WRITERS}
    found: dict[str, float] = {}
    for reader, sizes in READERS.items():
        restart(ProcessGrid(dist.get_world_size(), **sizes))
        for writer in WRITERS:
            found[f"{writer} -> {reader}"] = read(folder / writer, wholes[writer])
    (folder / f"found.{os.environ['RANK']}.json").write_text(json.dumps(found))
