"""How unsure a model is among the members of closed sets: the entropy of its answers, with gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ofacore.batching.collate import collate
from ofacore.batching.permutation import item_rng
from ofacore.batching.transfer import batch_on
from ofacore.encoding.encoder import Encoder
from ofacore.generalist.facade import Generalist
from ofacore.ground.errors import UserError
from ofacore.model.universal import UniversalModel
from ofacore.plan import TaskPlan
from ofacore.protocols import Example, RowError
from ofacore.setup.closed_sets import choosing
from ofacore.setup.datasets import TaskRows, readable

MOST_MEMBERS = 64
"""Members that a closed set may have: each is tried on every row."""


@dataclass(frozen=True)
class Question:
    """A row, once with each member of a closed set as its answer."""

    term: str
    """``task/slot``."""
    answers: tuple[Example, ...]


def questions(generalist: Generalist, data: Mapping[str, TaskRows], rows: int) -> list[Question]:
    """Up to so many validation rows of every task that chooses from a closed set; what they answer is not looked at.

    Raises:
        UserError: No task chooses from a closed set of at most `MOST_MEMBERS`, or none of their rows can be used.
    """
    found: list[Question] = []
    sets = [
        (task, slot, members)
        for task in data
        for slot, members in _closed_sets(generalist, task).items()
    ]
    if not sets:
        raise UserError(
            f"adamerging: no task with validation rows chooses from a closed set of at most {MOST_MEMBERS}; "
            "take another method"
        )
    for task, slot, members in sets:
        encoder, source = generalist.assembly.encoders[task], data[task].splits["valid"]
        for number, row in readable(source, rows):
            if not isinstance(row, RowError):
                answers = _answers(encoder, row, slot, members, number)
                if answers:
                    found.append(Question(f"{task}/{slot}", answers))
    if not found:
        raise UserError("adamerging: none of the validation rows can be used; take another method")
    return found


def _closed_sets(generalist: Generalist, task: str) -> dict[str, Sequence[Any]]:
    plan = generalist.assembly.plans[task]
    found: dict[str, Sequence[Any]] = {}
    for name, members in plan.closed_sets.items():
        if isinstance(members, Mapping | str) or not 1 < len(members) <= MOST_MEMBERS:
            continue
        if _is_chosen_by_a_target(plan, name):
            found[name] = members
    return found


def _is_chosen_by_a_target(plan: TaskPlan, name: str) -> bool:
    return any(slot.side == "target" for slot in choosing(plan, name))


def _answers(
    encoder: Encoder, row: Mapping[str, Any], slot: str, members: Sequence[Any], number: int
) -> tuple[Example, ...]:
    """The row with each member; none where one cannot be encoded."""
    column, task = encoder.plan.columns.get(slot, slot), encoder.plan.name
    found = []
    for member in members:
        rng = item_rng(0, task, 0, number)
        try:
            asked = {**row, column: member}
            found.append(encoder.encode(asked, split="test", rng=rng, row_id=f"row {number}"))
        except RowError:
            return ()
    return tuple(found)


def mean_entropy(model: UniversalModel, asked: Sequence[Question]) -> Tensor:
    """Mean over tasks and questions of the entropy of ``p(member | row)``, in nats; with its graph.

    The probability of a member is that of its tokens, divided by the sum over all members.
    """
    by_term: dict[str, list[Tensor]] = {}
    for question in asked:
        scores = _log_probs(model, question)
        logs = scores.log_softmax(0)
        by_term.setdefault(question.term, []).append(-(logs.exp() * logs).sum())
    means = [torch.stack(values).mean() for values in by_term.values()]
    return torch.stack(means).mean()


def _log_probs(model: UniversalModel, question: Question) -> Tensor:
    """[members]: log-probability of each member's tokens."""
    batch = batch_on(collate(list(question.answers)), model.device)
    hidden = model.hidden(batch)
    scores = torch.zeros(len(question.answers), device=model.device)
    for group in batch.terms:
        if question.term not in group.terms or "ids" not in group.labels:
            continue
        prediction = model.predict(group, hidden)
        chosen = prediction.log_probs.gather(1, prediction.local(group.labels["ids"])[:, None])[
            :, 0
        ]
        parts = chosen.split(list(group.lengths))
        for term, sample, part in zip(group.terms, group.samples, parts, strict=True):
            if term == question.term:
                place = torch.tensor([sample], device=model.device)
                scores = scores.index_add(0, place, part.sum()[None])
    return scores
