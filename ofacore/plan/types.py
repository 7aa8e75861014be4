"""A task, planned: plain data that can be printed, compared, pickled and stored with a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ofacore.instruction import Contrast, Instruction, Slot
from ofacore.plugin.manifest import MetricUse
from ofacore.protocols import Options, SlotPlan


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
        return next((slot for slot in found if slot.side == "target"), found[0] if found else None)

    def targets(self) -> Iterator[SlotPlan]:
        """Target slots that carry loss, in order."""
        return (slot for slot in self.slots.values() if slot.side == "target" and slot.loss and slot.plain is None)

    def columns(self) -> tuple[str, ...]:
        """Names of the columns it reads, in order, without repetition."""
        return tuple(dict.fromkeys(node.name for node in self.tree.walk() if isinstance(node, Slot)))


@dataclass(frozen=True)
class TaskPlan:
    """Everything that was decided about a task before any data was read."""

    name: str
    templates: tuple[TemplatePlan, ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    """Slot name -> column of the data, where they differ."""
    transforms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    closed_sets: Mapping[str, Sequence[Any] | str | Mapping[str, str]] = field(default_factory=dict)
    """Slot -> allowed values; a file with one a line; or ``{"column": name}`` for a list in every row."""
    losses: tuple[LossPlan, ...] = ()
    metrics: tuple[MetricUse, ...] = ()
    generation: Options = field(default_factory=dict)
    weight: float = 1.0
    loss_weight: float = 1.0
    decoder_plain_with_loss: bool = False
    prompt_slot: str = ""
    drop_prompt: float = 0.0

    def slots(self) -> Iterator[SlotPlan]:
        """All slots of all templates, plain text included."""
        return (slot for template in self.templates for slot in template.slots.values())
