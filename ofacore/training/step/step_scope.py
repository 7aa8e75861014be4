"""Losses that see a whole step at once, whatever its micro-batches (GradCache: Gao et al. 2021).

First the predictions of all micro-batches are computed without keeping their graphs. The criterion runs once on all of
them and gives the gradient with respect to each. Then every micro-batch is replayed, with the same dropout, and its
predictions carry on that gradient. The result equals one batch that holds everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ofacore.model.universal import UniversalModel
from ofacore.parallel.agreement import everyones
from ofacore.parallel.process_groups import data_rank, data_size
from ofacore.protocols import Batch, SampleInfo, TermGroup
from ofacore.training.step.loss_groups import join_groups
from ofacore.training.step.stand_ins import lockstep
from ofacore.training.step.weighing import Scale, TermSums, Totals, Unread, Weighed, backward, weigh

Key = tuple[str, str, str, str, tuple[str, ...]]
"""Head, criterion, side, options and blocks: what makes groups of different micro-batches one."""


def key_of(group: TermGroup) -> Key:
    """Groups of equal key are handed to one criterion call."""
    return (
        group.head,
        group.criterion,
        group.side,
        repr(sorted(group.options.items())),
        group.blocks,
    )


def is_step_wide(model: UniversalModel, group: TermGroup) -> bool:
    """Does the group's criterion see the whole step?"""
    return model.criterion(group.criterion, group.options).scope == "step"


def step_groups(model: UniversalModel, batch: Batch) -> list[TermGroup]:
    """The groups of a micro-batch whose criterion sees the whole step."""
    return [group for group in batch.terms if is_step_wide(model, group)]


@dataclass(frozen=True)
class Cached:
    """The prediction of one group of one micro-batch."""

    group: TermGroup
    samples: tuple[SampleInfo, ...]
    """Of its micro-batch."""
    leaves: dict[str, Tensor]
    """Collect gradients."""
    place: int | None
    """Its micro-batch; None for one of another data rank."""


@dataclass(frozen=True)
class StepGradients:
    """Gradients with respect to the predictions of every micro-batch, and what to report."""

    gradients: Mapping[tuple[int, Key], Mapping[str, Mapping[str, Tensor]]]
    """(Micro-batch, group) -> name of the total -> name of the prediction's tensor -> gradient."""
    sums: TermSums
    bad: Mapping[int, tuple[int, ...]]
    """Micro-batch -> samples whose loss is not finite."""
    totals: Sequence[Totals]
    """The losses themselves, as far as this process reports them."""

    def learns_from(self, place: int, batch: Batch) -> bool:
        """Whether a micro-batch of such losses alone has a sample whose loss is finite."""
        return bool(batch.terms) and len(self.bad.get(place, ())) < len(batch.samples)

    def surrogates(
        self, model: UniversalModel, batch: Batch, place: int, hidden: Any
    ) -> list[Totals]:
        """Scalars whose gradients are those of the step's losses through this micro-batch."""
        found: list[Totals] = []
        for group in step_groups(model, batch):
            gradients = self.gradients.get((place, key_of(group)))
            if gradients is None:
                continue
            leaves = named_leaves(model.predict(group, hidden))
            for name, leaf in leaves.items():
                found.append({total: (leaf * own[name]).sum() for total, own in gradients.items()})
        return found


class StepCache:
    """Collects predictions micro-batch by micro-batch, then computes losses and gradients once.

    Data ranks show each other their predictions; each computes the losses of the whole step, and from them the
    gradients of its own predictions.
    """

    def __init__(self, model: UniversalModel) -> None:
        self.model = model
        self.cached: dict[Key, list[Cached]] = {}

    @torch.no_grad()
    def collect(self, batch: Batch, place: int, hidden: Any = None) -> None:
        """Predictions of one micro-batch; the caller has seeded dropout for it, or gives its hidden states."""
        groups = step_groups(self.model, batch)
        if hidden is None and (groups or lockstep(self.model)):
            hidden = self.model.hidden(batch)
        for group in groups:
            prediction = self.model.predict(group, hidden)
            leaves = {
                name: t.detach().requires_grad_(True)
                for name, t in named_leaves(prediction).items()
            }
            self.cached.setdefault(key_of(group), []).append(
                Cached(group, batch.samples, leaves, place)
            )

    def gradients(
        self, scale: Scale, unread: Unread | None, taken: Callable[[str], None]
    ) -> StepGradients | None:
        """Losses over the step and their gradients; also accumulates into the criteria's own parameters.

        With ``unread`` the losses are noted there and taken to be finite. ``taken`` is called behind the backward pass
        of each total, with its name.

        Every data rank must call this together. The first alone reports the losses and trains the criteria.
        """
        shown = self._with_others()
        if not shown:
            return None
        found: dict[tuple[int, Key], dict[str, dict[str, Tensor]]] = {}
        sums, bad, totals = TermSums(), dict[int, tuple[int, ...]](), list[Totals]()
        for key, cached in shown.items():
            weighed = self._losses(cached, scale, unread)
            if data_rank() == 0:
                sums.merge(weighed.sums)
                totals.append(weighed.total)
            for place, samples in _blame(cached, weighed.bad).items():
                bad[place] = tuple(sorted({*bad.get(place, ()), *samples}))
            for name in self._backward(cached, weighed.total):
                taken(name)
                for each in cached:
                    gradients = _taken_from(each)
                    if each.place is not None and gradients is not None:
                        found.setdefault((each.place, key), {})[name] = gradients
        return StepGradients(found, sums, bad, totals)

    def _with_others(self) -> Mapping[Key, list[Cached]]:
        """What all data ranks collected, in their order."""
        if data_size() == 1:
            return self.cached
        joined: dict[Key, list[Cached]] = {}
        for rank, shown in enumerate(everyones(_foreign(self.cached))):
            for key, cached in (self.cached if rank == data_rank() else shown).items():
                joined.setdefault(key, []).extend(cached)
        return joined

    def _losses(self, cached: Sequence[Cached], scale: Scale, unread: Unread | None) -> Weighed:
        joint, everything = _join(cached)
        device = _own_device(cached)
        leaves = {}
        for name in cached[0].leaves:
            leaves[name] = torch.cat([each.leaves[name].to(device) for each in cached])
        losses = [(joint, self.model.loss(joint, with_leaves(leaves)))]
        if unread is None:
            return weigh(losses, everything, scale)
        return Weighed(unread.weigh(losses, everything, scale, data_rank() == 0), TermSums(), ())

    @staticmethod
    def _backward(cached: Sequence[Cached], total: Totals) -> Iterator[str]:
        """Gradients of own predictions; on the first data rank, of the criteria's parameters too."""
        own = [leaf for each in cached if each.place is not None for leaf in each.leaves.values()]
        if data_rank() == 0:
            yield from backward(total)
        elif own:
            yield from backward(total, own)


def _taken_from(cached: Cached) -> dict[str, Tensor] | None:
    """The gradients of its leaves, which then have none; None where one has none."""
    found = {name: leaf.grad for name, leaf in cached.leaves.items() if leaf.grad is not None}
    for leaf in cached.leaves.values():
        leaf.grad = None
    return found if len(found) == len(cached.leaves) else None


def _foreign(own: Mapping[Key, Sequence[Cached]]) -> dict[Key, list[Cached]]:
    """What another process gets to see."""
    shown = {}
    for key, cached in own.items():
        shown[key] = [_on_cpu(each) for each in cached]
    return shown


def _on_cpu(cached: Cached) -> Cached:
    """Predictions alone, of a micro-batch that is not the reader's own."""
    leaves = {name: leaf.detach().cpu() for name, leaf in cached.leaves.items()}
    return replace(cached, leaves=leaves, place=None)


def _own_device(cached: Sequence[Cached]) -> torch.device | None:
    """Where this process has its own predictions; None without any."""
    for each in cached:
        if each.place is not None:
            for leaf in each.leaves.values():
                return leaf.device
    return None


def _join(cached: Sequence[Cached]) -> tuple[TermGroup, Batch]:
    """One group over all micro-batches, and a batch that holds nothing but all samples."""
    samples = tuple(info for each in cached for info in each.samples)
    group = join_groups([each.group for each in cached], _offsets(cached))
    return group, Batch(None, None, (), samples)


def _offsets(cached: Sequence[Cached]) -> list[int]:
    sizes = [len(each.samples) for each in cached]
    return [sum(sizes[:position]) for position in range(len(sizes))]


def _blame(cached: Sequence[Cached], bad: Sequence[int]) -> dict[int, list[int]]:
    """Own micro-batch -> its samples among the bad ones."""
    found: dict[int, list[int]] = {}
    for each, offset in zip(cached, _offsets(cached), strict=True):
        mine = [sample - offset for sample in bad if offset <= sample < offset + len(each.samples)]
        if mine and each.place is not None:
            found[each.place] = mine
    return found


def named_leaves(prediction: Any) -> dict[str, Tensor]:
    """The tensors of a prediction: itself, or those of a mapping.

    Raises:
        TypeError: Neither; a head that serves a criterion of scope ``step`` must give one of them.
    """
    if isinstance(prediction, Tensor):
        return {"": prediction}
    if isinstance(prediction, Mapping) and all(
        isinstance(value, Tensor) for value in prediction.values()
    ):
        return dict(prediction)
    raise TypeError(
        f"a criterion of scope 'step' needs a tensor or a mapping of tensors, not {type(prediction)}"
    )


def with_leaves(leaves: Mapping[str, Tensor]) -> Any:
    """A prediction from what `named_leaves` found in one."""
    return leaves[""] if set(leaves) == {""} else dict(leaves)
