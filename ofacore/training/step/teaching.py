"""What teachers add to the losses of a step: how far the model's predictions are from theirs (Hinton et al. 2015).

Each teacher sees the same encoded samples as the model. The distance is a loss of its own, ``<term>/taught``; what the
rows themselves say counts for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ofacore.batching.steps import Step
from ofacore.batching.transfer import batch_on
from ofacore.ground.excerpts import listing
from ofacore.model.item_needs import Hidden
from ofacore.model.universal import UniversalModel
from ofacore.protocols import Batch, Loss, TermGroup
from ofacore.training.step.loss_groups import keep_items
from ofacore.training.step.step_scope import Key, key_of

TAUGHT = "taught"
"""Last part of the name of a term that a teacher adds."""


_Kind = tuple[Key, tuple[str, ...]]
"""What makes groups of two micro-batches the same: head, criterion and the like, and the names of their labels."""


@dataclass(frozen=True)
class Teacher:
    """A trained model whose predictions others learn from."""

    model: UniversalModel
    """In evaluation mode, with the vocabulary of the model that it teaches."""
    name: str
    """Where it comes from, for messages."""
    tasks: frozenset[str]
    weight: float
    """Share of its distance in the losses of these tasks; the rows have the rest."""


@dataclass(frozen=True)
class Lesson:
    """What a teacher makes of its samples in a micro-batch."""

    teacher: Teacher
    samples: tuple[int, ...]
    """Their places in the micro-batch."""
    hidden: Hidden
    groups: Mapping[_Kind, TermGroup]

    @torch.no_grad()
    def prediction(self, group: TermGroup) -> Any:
        """Of the items of a group of the model, all of which are its own."""
        own = self.groups[_kind(group)]
        wanted = set(group.samples)
        items = [item for item, sample in enumerate(own.samples) if self.samples[sample] in wanted]
        return self.teacher.model.predict(keep_items(own, items), self.hidden)


class Teaching:
    """The teachers of a run.

    Args:
        teachers: No two of one task.
    """

    def __init__(self, teachers: Sequence[Teacher]) -> None:
        self.teachers = tuple(teachers)
        self._step: Step | None = None
        self._lessons: list[Lesson] = []

    @property
    def told(self) -> str:
        """Who teaches what, on a line a teacher."""
        lines = []
        for teacher in self.teachers:
            share = f"{teacher.weight:.0%} of the losses of {listing(sorted(teacher.tasks))}"
            lines.append(f"learning from {teacher.name}, too: {share}")
        return "\n".join(lines)

    def begin(self, step: Step) -> None:
        """Take up a step, as the model gets it."""
        self._step, self._lessons = step, []

    def counts(self, counts: Mapping[str, int]) -> dict[str, int]:
        """Units of a step's terms, and of those that teachers may add."""
        tasks = [f"{task}/" for teacher in self.teachers for task in teacher.tasks]
        taught = [term for term in counts if term.startswith(tuple(tasks))]
        return {**counts, **{f"{term}/{TAUGHT}": counts[term] for term in taught}}

    @torch.no_grad()
    def look(self, batch: Batch) -> None:
        """Let every teacher see its samples in a micro-batch of the step; `losses` are of this one from here on."""
        assert self._step is not None
        self._lessons = []
        for teacher in self.teachers:
            samples = enumerate(batch.samples)
            places = [place for place, sample in samples if sample.task in teacher.tasks]
            if places:
                self._lessons.append(_lesson(teacher, places, self._step.part(batch, places)))

    def losses(
        self, model: UniversalModel, group: TermGroup, loss: Loss, hidden: Hidden
    ) -> list[tuple[TermGroup, Loss]]:
        """A group's loss, counted by what teachers leave of it, and its distance from each of them."""
        if not hasattr(model.criterion(group.criterion, group.options), "distillation"):
            return [(group, loss)]
        weights, added = list(group.weights), []
        for lesson in self._lessons:
            own, share = set(lesson.samples), lesson.teacher.weight
            items = [item for item, sample in enumerate(group.samples) if sample in own]
            if not items:
                continue
            taught = keep_items(group, items)
            prediction = model.predict(taught, hidden)
            distance = model.distillation(taught, prediction, lesson.prediction(taught))
            for item in items:
                weights[item] *= 1 - share
            added.append((_of_teacher(taught, share), distance))
        return [(replace(group, weights=tuple(weights)), loss), *added]


def _lesson(teacher: Teacher, places: Sequence[int], batch: Batch) -> Lesson:
    batch = batch_on(batch, teacher.model.device)
    try:
        hidden = teacher.model.hidden(batch)
    except Exception as error:
        error.add_note(f"in the teacher {teacher.name}, which sees what the model sees")
        raise
    return Lesson(teacher, tuple(places), hidden, {_kind(group): group for group in batch.terms})


def _kind(group: TermGroup) -> _Kind:
    return key_of(group), tuple(sorted(group.labels))


def _of_teacher(group: TermGroup, share: float) -> TermGroup:
    """The group under the names and weights of what a teacher adds."""
    terms = tuple(f"{term}/{TAUGHT}" for term in group.terms)
    return replace(group, terms=terms, weights=tuple(share * weight for weight in group.weights))
