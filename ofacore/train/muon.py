"""Muon: momentum whose matrices are made orthogonal by a Newton-Schulz iteration (Jordan et al. 2024).

The update is that of ``torch.optim.Muon`` with ``adjust_lr_fn="original"``. Own code, because that one always iterates
in bf16, one matrix after the other: on processors without bf16 matrix units this is tens of times slower than fp32,
and where there are such units, a stack of equal shapes runs faster than single matrices.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ofacore.train.precision import fast_bf16

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Quintic a x + b x^3 + c x^5 with the steepest slope at 0 that still converges to about 1."""
ITERATIONS = 5


def orthogonalise(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Nearest semi-orthogonal matrices, approximately: singular values end in about [0.7, 1.2].

    Args:
        matrices: [..., m, n].
        dtype: Format of the iteration.
    """
    a, b, c = COEFFICIENTS
    wide = matrices.to(dtype)
    tall = wide.size(-2) > wide.size(-1)
    wide = wide.mT if tall else wide
    wide = wide / torch.linalg.vector_norm(wide, dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    multiply_add = torch.addmm if wide.ndim == 2 else torch.baddbmm
    for _ in range(ITERATIONS):
        gram = wide @ wide.mT
        polynomial = multiply_add(gram, gram, gram, beta=b, alpha=c)
        wide = multiply_add(wide, polynomial, wide, beta=a)
    return wide.mT if tall else wide


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay for 2-D parameters.

    Args:
        params: Parameters or groups; a group may have its own ``lr`` and ``weight_decay``.
        lr: Rate; a matrix [m, n] moves by ``lr * sqrt(max(1, m / n))`` times an orthogonal matrix.
        momentum: Decay of the momentum.
        weight_decay: Factor on the weights taken off in each step, times ``lr``.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 2e-2, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        for group in self.param_groups:
            if any(p.ndim != 2 for p in group["params"]):
                raise ValueError("Muon takes matrices only; give other parameters to AdamW")

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._update(parameters, group)

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        momenta = [self._momentum(p) for p in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        directions = torch._foreach_lerp(gradients, momenta, group["momentum"])
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        for same in by_shape(parameters):
            rows, columns = parameters[same[0]].shape
            rate = group["lr"] * max(1.0, rows / columns) ** 0.5
            updates = orthogonal_updates([directions[i] for i in same])
            torch._foreach_add_([parameters[i] for i in same], updates, alpha=-rate)

    def _momentum(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return state["momentum_buffer"]


def by_shape(parameters: list[Tensor]) -> list[list[int]]:
    """Indices of parameters of equal shape, in order of first appearance."""
    groups: dict[torch.Size, list[int]] = {}
    for index, parameter in enumerate(parameters):
        groups.setdefault(parameter.shape, []).append(index)
    return list(groups.values())


def orthogonal_updates(directions: list[Tensor]) -> list[Tensor]:
    """`orthogonalise` for matrices of one shape: one stack in bf16 where that is fast, else one by one in fp32."""
    if fast_bf16(directions[0].device):
        stacked = orthogonalise(torch.stack(directions), torch.bfloat16)
        return [update.to(directions[0].dtype) for update in stacked.unbind()]
    return [orthogonalise(direction, direction.dtype) for direction in directions]
