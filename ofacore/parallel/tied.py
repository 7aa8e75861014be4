"""Parameters that several pipeline stages hold: equal on all of them, with the sum of their gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from ofacore.parallel.process_groups import pipeline_group, pipeline_rank, pipeline_size

Stages = tuple[int, ...]
"""Stages that hold something, ascending."""


class TiedGroups:
    """One process group for each set of stages that share parameters.

    Every process of the run must make it at the same time, with the same sets.

    Args:
        sets: Sets of stages; those of one stage need no group and are left out.
    """

    def __init__(self, sets: Iterable[Stages]) -> None:
        mine = dist.get_process_group_ranks(pipeline_group())
        pipelines: list[list[int]] = [[] for _ in range(dist.get_world_size())]
        dist.all_gather_object(pipelines, mine)
        self.groups: dict[Stages, dist.ProcessGroup] = {}
        for stages in sorted({stages for stages in sets if len(stages) > 1}):
            if len(stages) == pipeline_size():
                self.groups[stages] = pipeline_group()
                continue
            for ranks in sorted({tuple(pipeline) for pipeline in pipelines}):
                group = dist.new_group([ranks[stage] for stage in stages])
                if list(ranks) == mine and pipeline_rank() in stages:
                    self.groups[stages] = group

    @torch.no_grad()
    def sum_gradients(self, holders: Mapping[str, Stages], masters: Mapping[str, Tensor]) -> None:
        """Add up the gradients of shared parameters, in place.

        A parameter without a gradient on any of its stages stays without.

        Args:
            holders: Name -> stages that hold the parameter; equal on every stage.
            masters: Name -> tensor with ``grad``, for the parameters of this stage.
        """
        for stages in sorted(self.groups):
            names = sorted(
                name for name, held in holders.items() if held == stages and name in masters
            )
            if names:
                _sum([masters[name] for name in names], self.groups[stages])


def _sum(masters: Sequence[Tensor], group: dist.ProcessGroup) -> None:
    used = torch.tensor(
        [master.grad is not None for master in masters], dtype=torch.int32, device=masters[0].device
    )
    dist.all_reduce(used, group=group)
    chosen = [master for master, number in zip(masters, used.tolist(), strict=True) if number]
    if not chosen:
        return
    parts = [torch.zeros_like(m).flatten() if m.grad is None else m.grad.flatten() for m in chosen]
    total = torch.cat(parts)
    dist.all_reduce(total, group=group)
    for master, part in zip(chosen, total.split([m.numel() for m in chosen]), strict=True):
        master.grad = part.view_as(master).clone()
