"""A task, planned: plain data that can be printed, compared, pickled and stored with a checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ofacore.instruction import Contrast, Instruction, Slot
from ofacore.plugin.manifest import MetricUse
from ofacore.protocols import Options, SlotPlan

CONTRAST_HEAD = "embedding"
"""What embeds the two sides of a contrast where the task's losses name nothing else."""
CONTRAST_CRITERION = "contrastive"
"""What matches them."""


def criterion_key(name: str, options: Options) -> str:
    """One name for a criterion with these options, usable in parameter names."""
    if not options:
        return name
    text = json.dumps(dict(options), sort_keys=True, default=str)
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class LossPlan:
    """One loss term: a criterion on the hidden states of a slot."""

    criterion: str
    hidden: str
    """Slot whose hidden states it reads, on either side."""
    labels: str
    """Slot that gives the labels."""
    weight: float = 1.0
    options: Options = field(default_factory=dict)
    head: str = ""
    """Head between them; empty: that of the slot that gives the labels, else of the slot that is read."""

    @property
    def key(self) -> str:
        """Name of its criterion with its options."""
        return criterion_key(self.criterion, self.options)


@dataclass(frozen=True)
class TemplatePlan:
    """One template of a task."""

    text: str
    tree: Instruction
    slots: Mapping[int, SlotPlan]
    """By position in the unexpanded template; plain text has an entry too."""
    weight: float = 1.0

    @property
    def contrast(self) -> Contrast | None:
        """The contrast of the source, if there is one."""
        return next((node for node in self.tree.walk() if isinstance(node, Contrast)), None)

    def named(self, name: str) -> SlotPlan | None:
        """The first slot of that name, plain text excluded; the target goes before the source."""
        found = [slot for slot in self.slots.values() if slot.name == name and slot.plain is None]
        for slot in found:
            if slot.side == "target":
                return slot
        return found[0] if found else None

    def targets(self) -> Iterator[SlotPlan]:
        """Target slots that carry loss, in order."""
        return (
            slot
            for slot in self.slots.values()
            if slot.side == "target" and slot.loss and slot.plain is None
        )

    def columns(self) -> tuple[str, ...]:
        """Names of the columns it reads, in order, without repetition."""
        return tuple(
            dict.fromkeys(node.name for node in self.tree.walk() if isinstance(node, Slot))
        )


@dataclass(frozen=True)
class TaskPlan:
    """Everything that was decided about a task before any data was read."""

    name: str
    templates: tuple[TemplatePlan, ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    """Slot name -> column of the data, where they differ."""
    transforms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    row_transforms: Mapping[str, Options] = field(default_factory=dict)
    """Transform of whole rows -> its options, in order."""
    closed_sets: Mapping[str, Sequence[Any] | str | Mapping[str, str]] = field(default_factory=dict)
    """Slot -> allowed values; a file with one a line; or ``{"column": name}`` for a list in every row."""
    losses: tuple[LossPlan, ...] = ()
    """None: each target slot has the loss of its own criterion."""
    contrast: LossPlan | None = None
    """How the two sides of a contrast are embedded and matched, where a template has one."""
    metrics: tuple[MetricUse, ...] = ()
    generation: Options = field(default_factory=dict)
    weight: float = 1.0
    loss_weight: float = 1.0
    decoder_plain_with_loss: bool = False
    prompt_slot: str = ""
    drop_prompt: float = 0.0
    class_weights: Mapping[str, str | Mapping[str, float]] = field(default_factory=dict)
    """Target slot -> value, as text -> factor on its loss; ``balanced`` until the training data are looked at."""
    label_smoothing: float | None = None
    """In place of the run's."""
    criterion_options: Mapping[str, Options] = field(default_factory=dict)
    """Criterion of a target slot -> options of this task, where it declares no losses."""
    turns: int = 0
    """Most turns that a repeat of its targets has in the training data; 0: unknown."""

    def all_losses(self) -> tuple[LossPlan, ...]:
        """Losses that are declared, that of a contrast too."""
        return self.losses if self.contrast is None else (*self.losses, self.contrast)

    def slots(self) -> Iterator[SlotPlan]:
        """All slots of all templates, plain text included."""
        return (slot for template in self.templates for slot in template.slots.values())
