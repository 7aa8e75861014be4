"""A run that takes part: what it is, and its weights by name, which are read one by one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa_merge.low_rank import Folded
from ofacore import read_checkpoint
from ofacore.checkpoint import CheckpointError, load
from ofacore.checkpoint.by_name import origin_in
from ofacore.generalist.storing import checkpoint_of, restored
from ofacore.generalist.upgrading import is_outdated
from ofacore.plugin import Registry
from ofacore.setup.assembly import Assembly
from ofacore.setup.origins import preferring
from ofacore.setup.stored_description import described_model

_FOREIGN_UPDATE = re.compile(r"\.lora_[AB]\.")


@dataclass(frozen=True)
class OpenedRun:
    """One of the runs that are merged, or what they began with."""

    name: str
    """As it was given."""
    place: Path
    """Its checkpoint."""
    assembly: Assembly
    weights: Folded
    origin: Mapping[str, Any]
    """What its weights were before training, as far as it says."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of its tasks."""
        return tuple(self.assembly.plans)

    @property
    def seed(self) -> int:
        """Seed that the initial values of its model come from, as far as it knows."""
        return int(self.origin.get("seed", self.assembly.config.train.seed))


def open_run(path: Path, which: str = "latest", registry: Registry | None = None) -> OpenedRun:
    """Read everything of a run but its weights.

    Raises:
        CheckpointError: Nothing usable is there, or it cannot be merged as it stands.
    """
    place = checkpoint_of(path, which)
    snapshot = load(place, optimizer=False, tensors=False)
    state = described_model(place, snapshot.state)
    stored = state.get("components", {})
    chosen = state["config"].get("plugins", {}).get("prefer", {})
    registry = registry or preferring(stored, chosen)
    if is_outdated(stored, registry):
        remedy = f"write it anew, Generalist.from_pretrained('{path}').save(FOLDER), and merge that"
        raise CheckpointError(place, f"was written with other versions of plugins; {remedy}")
    assembly, _ = restored(place, snapshot, registry)
    weights = read_checkpoint(place)
    odd = next((name for name in weights if _FOREIGN_UPDATE.search(name)), None)
    if odd is not None:
        remedy = "merge the update into the weights first"
        raise CheckpointError(place, f"holds a low-rank update of its backbone ('{odd}'); {remedy}")
    lora, tasks = assembly.config.model.lora, tuple(assembly.plans)
    if lora.rank and lora.per == "task" and len(tasks) > 1:
        several = (
            f"each of {', '.join(tasks)} has low-rank updates of its own (model.lora.per: task)"
        )
        raise CheckpointError(place, f"{several}, which one set of weights cannot hold")
    folded = Folded(weights, lora, tasks[0])
    return OpenedRun(str(path), place, assembly, folded, origin_in(snapshot.state))
