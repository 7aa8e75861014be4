"""Which task helps which: a step on one, the loss of another; and the angle between their gradients.

*Lookahead* (after Fifty et al. 2021, "TAG"): from a checkpoint, one step of gradient descent on rows of task A alone;
by how much, relative to what it was, the loss of task B falls on other rows. The step is the longest, of 1 % of the
weights and its halves, by which the loss on its own rows falls by half of what the slope promises (Armijo 1966).
*Cosine*: of the gradients of A and B over the parameters in which both have a part (Yu et al. 2020). Both are means
over checkpoints along the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ofacore import Generalist
from ofacore.batching.collate import collate
from ofacore.batching.permutation import item_rng
from ofacore.batching.transfer import batch_on
from ofacore.checkpoint import checkpoints
from ofacore.generalist.storing import load
from ofacore.plugin import UserError
from ofacore.protocols import Batch, Example, RowError
from ofacore.setup.datasets import open_tasks, spread
from ofacore.sources import Source

STEPPED, SEEN = 96, 32
"""Rows that a step is made on, and other ones that its effect is seen on."""
LONGEST, HALVINGS = 0.01, 12
"""Length of the longest step, as a share of the length of the weights that it moves, and how often it may be halved."""


@dataclass(frozen=True)
class Moment:
    """One checkpoint."""

    step: int
    lookahead: np.ndarray
    """[tasks, tasks]: row A, column B: 1 - loss of B after a step on A / loss before."""
    cosine: np.ndarray
    """[tasks, tasks], symmetric."""


def moments(folder: Path, tasks: Sequence[str]) -> list[Moment]:
    """What every checkpoint of a run shows, oldest first.

    Raises:
        UserError: The run has no checkpoints.
    """
    there = checkpoints(folder)
    if not there:
        raise UserError(f"'{folder}' has no checkpoints: train its generalist with --transfer")
    found: list[Moment] = []
    rows: dict[str, Any] = {}
    for place in there:
        generalist = load(place, None)
        rows = rows or dict(open_tasks(generalist.assembly.run))
        generalist.data = rows
        found.append(_moment(generalist, tasks, int(place.name.removeprefix("step-"))))
    return found


def _moment(generalist: Generalist, tasks: Sequence[str], step: int) -> Moment:
    model = generalist.model.eval()
    own = {task: batches_of(generalist, task) for task in tasks}
    weights = {name: each for name, each in model.named_parameters() if each.requires_grad}
    before = {task: loss_of(generalist, own[task][1]) for task in tasks}
    gradients: dict[str, dict[str, Tensor]] = {}
    lookahead = np.full((len(tasks), len(tasks)), np.nan)
    for row, task in enumerate(tasks):
        loss, gradient = _gradient(generalist, own[task][0], weights)
        share = step_of(weights, gradient, loss, partial(loss_of, generalist, own[task][0]))
        with moved(weights, gradient, share):
            for column, other in enumerate(tasks):
                after = loss_of(generalist, own[other][1])
                lookahead[row, column] = 1 - after / max(before[other], 1e-12)
        gradients[task] = {name: each.to(torch.bfloat16) for name, each in gradient.items()}
    return Moment(step, lookahead, cosines(gradients, tasks))


class moved:
    """Weights one step down a gradient, and back again behind the block, to the bit."""

    def __init__(
        self, weights: Mapping[str, Tensor], gradient: Mapping[str, Tensor], share: float
    ) -> None:
        self._weights = {name: weights[name] for name in gradient}
        self._gradient, self._share = gradient, share
        self._kept = {name: each.detach().clone() for name, each in self._weights.items()}

    @torch.no_grad()
    def __enter__(self) -> None:
        length = _norm(self._gradient)
        if length > 0:
            size = self._share * _norm(self._kept) / length
            for name, weight in self._weights.items():
                weight -= size * self._gradient[name]

    @torch.no_grad()
    def __exit__(self, *raised: object) -> None:
        for name, weight in self._weights.items():
            weight.copy_(self._kept[name])


def step_of(
    weights: Mapping[str, Tensor],
    gradient: Mapping[str, Tensor],
    before: float,
    loss: Callable[[], float],
) -> float:
    """Length of a step down a gradient, as a share of the length of the weights; 0 where no step lowers the loss."""
    slope = _norm(gradient) * _norm({name: weights[name] for name in gradient})
    for halvings in range(HALVINGS):
        share = LONGEST / 2**halvings
        with moved(weights, gradient, share):
            if loss() <= before - share * slope / 2:
                return share
    return 0.0


def _norm(tensors: Mapping[str, Tensor]) -> float:
    squares = [float(each.detach().double().square().sum()) for each in tensors.values()]
    return float(np.sqrt(sum(squares)))


def batches_of(generalist: Generalist, task: str) -> tuple[Batch, Batch]:
    """Training rows of a task to step on, and others to see the effect on, a quarter of what is there at most.

    Raises:
        UserError: There are fewer than two rows that can be used.
    """
    source = generalist.data[task].train
    assert (
        source is not None
    )  # a task without training rows has no samples, which is refused before
    examples = _examples(generalist, task, source, STEPPED + SEEN)
    if len(examples) < 2:
        raise UserError(f"task '{task}': --transfer needs two training rows that can be used")
    middle = max(1, min(STEPPED, len(examples) * 3 // 4))
    packing = generalist.assembly.config.train.packing
    return (
        collate(examples[:middle], packing=packing),
        collate(examples[middle:], packing=packing),
    )


def _examples(generalist: Generalist, task: str, source: Source, most: int) -> list[Example]:
    encoder = generalist.assembly.encoders[task]
    order = np.random.default_rng(0).permutation(spread(len(source), most))
    found: list[Example] = []
    for index in order.tolist():
        rng = item_rng(0, task, 0, index)
        try:
            found.append(
                encoder.encode(source[index], split="valid", rng=rng, row_id=source.name(index))
            )
        except RowError:
            continue
    return found


def _total(generalist: Generalist, batch: Batch) -> Tensor:
    """Mean loss over counted units, summed over terms; a criterion that sees a whole step sees this batch."""
    model = generalist.model
    batch = batch_on(batch, model.device)
    counts: dict[str, int] = {}
    for group in batch.terms:
        for term, count in zip(group.terms, group.counts, strict=True):
            counts[term] = counts.get(term, 0) + count
    hidden = model.hidden(batch)
    total = torch.zeros((), device=model.device)
    for group in batch.terms:
        loss = model.loss(group, model.predict(group, hidden), hidden)
        shares = [
            weight / max(1, counts[term])
            for term, weight in zip(group.terms, group.weights, strict=True)
        ]
        total = total + (loss.values * torch.tensor(shares, device=model.device)).sum()
    return total


@torch.no_grad()
def loss_of(generalist: Generalist, batch: Batch) -> float:
    """Mean loss of a batch."""
    return float(_total(generalist, batch))


def _gradient(
    generalist: Generalist, batch: Batch, weights: Mapping[str, Tensor]
) -> tuple[float, dict[str, Tensor]]:
    """The loss of a batch, and its gradient in the parameters in which the batch has a part."""
    names = list(weights)
    total = _total(generalist, batch)
    found = torch.autograd.grad(total, [weights[name] for name in names], allow_unused=True)
    gradient = {name: each for name, each in zip(names, found, strict=True) if each is not None}
    return float(total.detach()), gradient


def cosines(gradients: Mapping[str, Mapping[str, Tensor]], tasks: Sequence[str]) -> np.ndarray:
    """Cosine of all pairs over the parameters in which both have a part; nan where that is none."""
    found = np.full((len(tasks), len(tasks)), np.nan)
    for row, one in enumerate(tasks):
        for column, other in enumerate(tasks[: row + 1]):
            cosine = _cosine(gradients[one], gradients[other])
            found[row, column] = found[column, row] = cosine
    return found


def _cosine(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    product = left = right = 0.0
    for name in one.keys() & other.keys():
        a, b = one[name].float().flatten(), other[name].float().flatten()
        product += float(a @ b)
        left += float(a @ a)
        right += float(b @ b)
    return product / np.sqrt(left * right) if left > 0 and right > 0 else float("nan")
