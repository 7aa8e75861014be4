"""Losses that see a whole step at once, whatever its micro-batches (GradCache: Gao et al. 2021).

First the predictions of all micro-batches are computed without keeping their graphs. The criterion runs once on all of
them and gives the gradient with respect to each. Then every micro-batch is replayed, with the same dropout, and its
predictions carry on that gradient. The result equals one batch that holds everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ofacore.protocols import Batch, TermGroup
from ofacore.train.groups import join_groups
from ofacore.train.interfaces import TrainableModel
from ofacore.train.terms import Scale, TermSums, Weighed, weigh

Key = tuple[str, str, str, str, tuple[str, ...]]
"""Head, criterion, side, options and blocks: what makes groups of different micro-batches one."""


def key_of(group: TermGroup) -> Key:
    """Groups of equal key are handed to one criterion call."""
    return (group.head, group.criterion, group.side, repr(sorted(group.options.items())), group.blocks)


def is_step_wide(model: TrainableModel, group: TermGroup) -> bool:
    """Does the group's criterion see the whole step?"""
    return model.criterion(group.criterion, group.options).scope == "step"


def step_groups(model: TrainableModel, batch: Batch) -> list[TermGroup]:
    """The groups of a micro-batch whose criterion sees the whole step."""
    return [group for group in batch.terms if is_step_wide(model, group)]


@dataclass
class Cached:
    """Predictions of one kind from all micro-batches."""

    groups: list[TermGroup] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """Micro-batch of each group."""
    predictions: list[dict[str, Tensor]] = field(default_factory=list)
    """Leaves that collect gradients."""


@dataclass(frozen=True)
class StepGradients:
    """Gradients with respect to the predictions of every micro-batch, and what to report."""

    gradients: Mapping[tuple[int, Key], dict[str, Tensor]]
    sums: TermSums
    bad: Mapping[int, tuple[int, ...]]
    """Micro-batch -> samples whose loss is not finite."""

    def surrogates(self, model: TrainableModel, batch: Batch, place: int, hidden: Any) -> list[Tensor]:
        """Scalars whose gradients are those of the step's losses through this micro-batch."""
        groups = [group for group in step_groups(model, batch) if (place, key_of(group)) in self.gradients]
        return [
            (leaf * self.gradients[place, key_of(group)][name]).sum()
            for group in groups
            for name, leaf in named_leaves(model.predict(group, hidden)).items()
        ]


class StepCache:
    """Collects predictions micro-batch by micro-batch, then computes losses and gradients once."""

    def __init__(self, model: TrainableModel) -> None:
        self.model = model
        self.cached: dict[Key, Cached] = {}
        self.batches: dict[int, Batch] = {}
        self._templates: dict[Key, Any] = {}

    @torch.no_grad()
    def collect(self, batch: Batch, place: int) -> None:
        """Predictions of one micro-batch; the caller has seeded dropout for it."""
        groups = step_groups(self.model, batch)
        hidden = self.model.hidden(batch) if groups else None
        for group in groups:
            prediction = self.model.predict(group, hidden)
            kept = self.cached.setdefault(key_of(group), Cached())
            self._templates[key_of(group)] = prediction
            leaves = {name: t.detach().requires_grad_(True) for name, t in named_leaves(prediction).items()}
            kept.groups.append(group)
            kept.places.append(place)
            kept.predictions.append(leaves)
            self.batches[place] = batch

    def gradients(self, scale: Scale) -> StepGradients | None:
        """Losses over the step and their gradients; also accumulates into the criteria's own parameters."""
        if not self.cached:
            return None
        found: dict[tuple[int, Key], dict[str, Tensor]] = {}
        sums, bad = TermSums(), dict[int, tuple[int, ...]]()
        for key, cached in self.cached.items():
            weighed = self._run(key, cached, scale)
            sums.merge(weighed.sums)
            for place, samples in self._blame(cached, weighed.bad).items():
                bad[place] = tuple(sorted({*bad.get(place, ()), *samples}))
            for place, leaves in zip(cached.places, cached.predictions, strict=True):
                gradients = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
                if len(gradients) == len(leaves):
                    found[place, key] = gradients
        return StepGradients(found, sums, bad)

    def _run(self, key: Key, cached: Cached, scale: Scale) -> Weighed:
        joined, everything = self._join(cached)
        names = cached.predictions[0]
        leaves = {name: torch.cat([leaf[name] for leaf in cached.predictions]) for name in names}
        prediction = with_leaves(self._templates[key], leaves)
        weighed = weigh([(joined, self.model.loss(joined, prediction))], everything, scale)
        if weighed.total is not None:
            weighed.total.backward()  # type: ignore[no-untyped-call]
        return weighed

    def _join(self, cached: Cached) -> tuple[TermGroup, Batch]:
        """One group over all micro-batches, and a batch that holds nothing but all samples."""
        samples = [info for place in cached.places for info in self.batches[place].samples]
        return join_groups(cached.groups, self._offsets(cached)), Batch(None, None, (), tuple(samples))

    def _offsets(self, cached: Cached) -> list[int]:
        sizes = [len(self.batches[place].samples) for place in cached.places]
        return [sum(sizes[:position]) for position in range(len(sizes))]

    def _blame(self, cached: Cached, bad: Sequence[int]) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for place, offset in zip(cached.places, self._offsets(cached), strict=True):
            size = len(self.batches[place].samples)
            mine = [sample - offset for sample in bad if offset <= sample < offset + size]
            if mine:
                found[place] = mine
        return found


def named_leaves(prediction: Any) -> dict[str, Tensor]:
    """The tensors of a prediction: itself, or those of a mapping.

    Raises:
        TypeError: Neither; a head that serves a criterion of scope ``step`` must give one of them.
    """
    if isinstance(prediction, Tensor):
        return {"": prediction}
    if isinstance(prediction, Mapping) and all(isinstance(value, Tensor) for value in prediction.values()):
        return dict(prediction)
    raise TypeError(f"a criterion of scope 'step' needs a tensor or a mapping of tensors, not {type(prediction)}")


def with_leaves(template: Any, leaves: Mapping[str, Tensor]) -> Any:
    """A prediction of the template's form with other tensors."""
    return leaves[""] if isinstance(template, Tensor) else dict(leaves)
