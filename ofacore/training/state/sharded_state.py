"""A run's state in the sharded form: every process saves and restores what it holds, and asks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ofacore.checkpoint import CheckpointError, Snapshot, read_shards, stored
from ofacore.checkpoint.sharded import Stored
from ofacore.model.weights.held import table_lengths, weight_pieces
from ofacore.model.weights.named import missing_and_unknown
from ofacore.parallel.held_parts import piece

if TYPE_CHECKING:
    from ofacore.training.loop import Trainer


def sharded_snapshot(trainer: Trainer) -> Snapshot:
    """As `Trainer.snapshot`, but only what this process holds, in the memory that training goes on with."""
    lengths = table_lengths(trainer.model)
    optimizer = {
        key: piece(value, parameter, lengths.get(key.rpartition("|")[0]))
        for key, (value, parameter) in trainer.optimizer.own_parts(masters=False).items()
    }
    averages = trainer.ema.own_parts() if trainer.ema else {}
    ema = {
        name: piece(value, parameter, lengths.get(name))
        for name, (value, parameter) in averages.items()
    }
    structure = trainer.optimizer.structure()
    return Snapshot(_exact_pieces(trainer), trainer.described(), optimizer, structure, ema)


def _exact_pieces(trainer: Trainer) -> dict[str, Tensor]:
    """Of the weights, those whose exact values this process keeps; other processes store the rest."""
    with trainer.optimizer.exact(everywhere=False):
        pieces, foreign = weight_pieces(trainer.model), trainer.optimizer.foreign_rows()
    return {name: value for name, value in pieces.items() if name not in foreign}


@torch.no_grad()
def restore_shards(trainer: Trainer, folder: Path, snapshot: Snapshot) -> None:
    """Go on from a checkpoint of the sharded form, written under any layout.

    Raises:
        CheckpointError: It does not fit this model.
    """
    known = stored(folder)
    _check_names(trainer, folder, known)
    with trainer.optimizer.exact():
        optimizer = _optimizer_pieces(trainer, known)
        ema = _average_pieces(trainer, known) if trainer.ema else {}
        kinds = {"model": weight_pieces(trainer.model), "optimizer": optimizer, "ema": ema}
        read_shards(
            folder,
            {
                f"{kind}/{name}": value
                for kind, into in kinds.items()
                for name, value in into.items()
            },
        )
        trainer.optimizer.load_state(optimizer, snapshot.optimizer_structure, whole=False)
        if trainer.ema:
            trainer.ema.load_state(ema, whole=False)
    trainer.go_on(snapshot.state)


def _check_names(trainer: Trainer, folder: Path, known: Mapping[str, Stored]) -> None:
    names = {name.partition("/")[2]: None for name in known if name.startswith("model/")}
    missing, unknown = missing_and_unknown(trainer.model, names)
    if missing or unknown:
        raise CheckpointError(
            folder, f"does not fit; missing: {missing or 'none'}; unknown: {unknown or 'none'}"
        )


def _optimizer_pieces(trainer: Trainer, known: Mapping[str, Stored]) -> dict[str, Tensor]:
    """Empty pieces for all that is stored of the parameters whose state this process keeps."""
    kept: dict[str, list[tuple[str, Stored]]] = {}
    for key, entry in known.items():
        kind, _, rest = key.partition("/")
        if kind == "optimizer":
            name, _, what = rest.rpartition("|")
            kept.setdefault(name, []).append((what, entry))
    lengths = table_lengths(trainer.model)
    found = {}
    for portable, (value, parameter) in trainer.optimizer.own_rows().items():
        for what, entry in kept.get(portable, ()):
            shape = value.shape if entry.shape else ()
            empty = torch.empty(shape, dtype=entry.dtype, device=value.device)
            found[f"{portable}|{what}"] = piece(empty, parameter, lengths.get(portable))
    return found


def _average_pieces(trainer: Trainer, known: Mapping[str, Stored]) -> dict[str, Tensor]:
    assert trainer.ema is not None
    lengths = table_lengths(trainer.model)
    return {
        name: piece(torch.empty_like(value), parameter, lengths.get(name))
        for name, (value, parameter) in trainer.ema.own_parts().items()
        if f"ema/{name}" in known
    }
