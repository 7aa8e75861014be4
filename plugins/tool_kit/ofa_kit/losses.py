"""Losses of single samples, and the parameters that belong to a slot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from ofa_kit.bench import SlotBench
from ofacore.protocols import Batch


def losses(bench: SlotBench, batch: Batch) -> dict[tuple[int, str], float]:
    """(sample, term) -> loss under the model of a bench, without terms whose criterion couples samples on purpose."""
    with torch.no_grad():
        return losses_of(bench.model, batch, bench)


def losses_of(
    model: Any, batch: Batch, bench: SlotBench | None = None
) -> dict[tuple[int, str], float]:
    """(sample, term) -> loss, without terms whose criterion couples samples on purpose."""
    found: dict[tuple[int, str], float] = {}
    for group, loss in model.losses(batch):
        if (
            group.criterion
            and bench
            and bench.registry.component("criterion", group.criterion).batch_coupled
        ):
            continue
        assert loss.values.shape == (len(group.terms),), (
            f"criterion '{group.criterion}' returned values of shape {tuple(loss.values.shape)} for {len(group.terms)} "
            "items: return one sum for each item"
        )
        for sample, term, value in zip(
            group.samples, group.terms, loss.values.tolist(), strict=True
        ):
            found[sample, term] = value
    return found


def total(model: Any, batch: Batch) -> torch.Tensor:
    """Sum of all losses of a batch, with a gradient."""
    return torch.stack([loss.values.sum() for _, loss in model.losses(batch)]).sum()


def own_parameters(bench: SlotBench) -> Iterator[tuple[str, Any]]:
    """Parameters of the components that serve the slot and nothing else."""
    used = {
        part for slot in bench.slots.values() for part in (slot.adapter, slot.head, slot.criterion)
    }
    shared = {"token", "cross_entropy", ""}
    for name, parameter in bench.model.named_parameters():
        kind, _, rest = name.partition(".")
        if kind in ("adapters", "heads", "criteria") and rest.partition(".")[0] in used - shared:
            yield name, parameter
