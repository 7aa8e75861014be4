"""What processes tell each other, so that all of them decide alike. One process asks nobody."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from ofacore.ground.errors import UserError
from ofacore.parallel.process_groups import (
    data_group,
    data_rank,
    data_size,
    layout,
    model_group,
    world_size,
)

T = TypeVar("T")


class DifferentStartError(UserError):
    """Processes of one run were not started alike; names the first that differs, and in what."""


def everyones(value: T) -> list[T]:
    """The values of all data ranks, in their order."""
    if data_size() == 1:
        return [value]
    found: list[T] = [value] * data_size()
    dist.all_gather_object(found, value, group=data_group())
    return found


def of_the_model(value: T) -> list[T]:
    """The values of all processes that hold this replica of the model together."""
    if layout().tensor * layout().pipeline == 1:
        return [value]
    found: list[T] = [value] * model_group().size()
    dist.all_gather_object(found, value, group=model_group())
    return found


def in_lockstep() -> bool:
    """Whether data ranks talk to each other within every micro-batch, so that all must compute equally many."""
    return layout().expert > 1 or layout().fsdp


def as_on_every_rank(states: Tensor) -> Tensor:
    """What layers read that data ranks compute together, with a gradient: all then communicate in the backward pass.

    Without one they would not, or in another order: embeddings have none where all of them are frozen, what a rank
    without positions computes in their place has.
    """
    if states.requires_grad or not (torch.is_grad_enabled() and in_lockstep()):
        return states
    return states.detach().requires_grad_(True)


def stop_reason(own: str) -> str:
    """Why the run stops: the reason of this process or of another; empty where nobody stops."""
    if layout().single:
        return own
    reasons = [reason for mine in everyones(own) for reason in of_the_model(mine) if reason]
    return own or next(iter(reasons), "")


def evaluation_share() -> tuple[int, int]:
    """Which share of the rows this process evaluates, and how many shares there are.

    Processes that talk to each other in every forward pass evaluate the same rows.
    """
    if layout().fsdp:
        return 0, 1
    return data_rank() // layout().expert, layout().expert_data


class OtherProcessError(RuntimeError):
    """Another process of this run failed in what all of them do; names it and says what it said."""


@dataclass(frozen=True)
class _Attempt(Generic[T]):
    """How one process fared."""

    value: T | None = None
    failure: str = ""
    user: bool = False
    """The failure is the user's mistake."""


def all_succeeded(work: Callable[[], T]) -> list[T]:
    """What ``work`` gives on every process, in their order, once all have done it; if one fails, all do.

    Args:
        work: Something that may fail; it must not wait for other processes.

    Raises:
        UserError: A mistake of the user, found by this process or by another, which is named.
        OtherProcessError: Another process failed in another way. Where this one did, its own error.
    """
    if world_size() == 1:
        return [work()]
    raised: Exception | None = None
    own: _Attempt[T]
    try:
        own = _Attempt(work())
    except Exception as error:
        raised, own = (
            error,
            _Attempt(failure=str(error) or repr(error), user=isinstance(error, UserError)),
        )
    attempts = [own] * world_size()
    dist.all_gather_object(attempts, own)
    failed = [rank for rank, attempt in enumerate(attempts) if attempt.failure]
    if raised and (not own.user or len(failed) == len(attempts)):
        raise raised
    if failed:
        first = attempts[failed[0]]
        kind = UserError if first.user else OtherProcessError
        raise kind(f"process {failed[0]}: {first.failure}") from raised
    return [cast(T, attempt.value) for attempt in attempts]


def check_started_alike(facts: Mapping[str, Any]) -> None:
    """Compare what every process was started with.

    Args:
        facts: What it is -> JSON-ready value, such as ``{"configuration": {...}}``.

    Raises:
        DifferentStartError: A process differs from the first.
    """
    if world_size() == 1:
        return
    own = {name: _flat(value) for name, value in facts.items()}
    found: list[dict[str, dict[str, str]]] = [own] * world_size()
    dist.all_gather_object(found, own)
    for rank, other in enumerate(found):
        for name, entries in found[0].items():
            changed = _difference(entries, other.get(name, {}))
            if changed:
                raise DifferentStartError(
                    f"process {rank} has another {name} than process 0: {changed}; "
                    "start all of them with the same packages and files"
                )


def _difference(first: Mapping[str, str], other: Mapping[str, str]) -> str:
    keys = sorted(key for key in {*first, *other} if first.get(key) != other.get(key))
    return ", ".join(
        f"{key} is {other.get(key, 'absent')}, not {first.get(key, 'absent')}" for key in keys[:3]
    )


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested mappings as ``key.key`` -> JSON."""
    if not isinstance(value, Mapping):
        return {prefix or "it": json.dumps(value, sort_keys=True, default=str)}
    found: dict[str, str] = {}
    for key, each in value.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        found.update(_flat(each, path))
    return found
