"""Muon: momentum whose matrices are made orthogonal by a Newton-Schulz iteration (Jordan et al. 2024).

The update is that of ``torch.optim.Muon`` with ``adjust_lr_fn="original"``. Own code, because that one always iterates
in bf16, one matrix after the other: on processors without bf16 matrix units this is tens of times slower than fp32,
and where there are such units, a stack of equal shapes runs faster than single matrices. Here the number format is a
setting, and by default that of the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ofacore.parallel.sharded_optimizer import cut, part_like, whole_of

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Quintic a x + b x^3 + c x^5 with the steepest slope at 0 that still converges to about 1."""
ITERATIONS = 5


GRAM_FROM = 2
"""Columns over rows from which on an fp32 iteration on the small square side alone is cheaper."""


def orthogonalise(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Nearest semi-orthogonal matrices, approximately: singular values end in about [0.7, 1.2].

    Args:
        matrices: [..., m, n].
        dtype: Format of the iteration.
    """
    wide = matrices.to(dtype)
    tall = wide.size(-2) > wide.size(-1)
    wide = wide.mT if tall else wide
    wide = wide / torch.linalg.vector_norm(wide, dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    gram = dtype != torch.bfloat16 and wide.size(-1) >= GRAM_FROM * wide.size(-2)
    wide = _through_gram(wide) if gram else _iterated(wide)
    return wide.mT if tall else wide


def _iterated(wide: Tensor) -> Tensor:
    """Each iteration on the whole matrix: ``4 m^2 n + 2 m^3`` operations."""
    for _ in range(ITERATIONS):
        gram = wide @ wide.mT
        wide = _multiply_add(wide, _polynomial(gram), wide, COEFFICIENTS[0])
    return wide


def _through_gram(wide: Tensor) -> Tensor:
    """The same from the Gram matrix G alone: ``8 m^3`` operations an iteration, and ``4 m^2 n`` once.

    With P = a + b G + c G^2 an iteration takes X to P X, so G to P G P, and all P are polynomials of the first G. Small
    singular values are squared in G: fp32 has the digits for it, bf16 has not.
    """
    gram = wide @ wide.mT
    product: Tensor | None = None
    for left in reversed(range(ITERATIONS)):
        factor = _polynomial(gram)
        factor.diagonal(dim1=-2, dim2=-1).add_(COEFFICIENTS[0])
        product = factor if product is None else product @ factor
        gram = gram @ factor @ factor if left else gram
    assert product is not None
    return product @ wide


def _polynomial(gram: Tensor) -> Tensor:
    """``b G + c G^2``."""
    return _multiply_add(gram, gram, gram, COEFFICIENTS[1], COEFFICIENTS[2])


def _multiply_add(
    added: Tensor, left: Tensor, right: Tensor, beta: float, alpha: float = 1.0
) -> Tensor:
    """``beta * added + alpha * left @ right`` for matrices or stacks of them."""
    combine = torch.addmm if added.ndim == 2 else torch.baddbmm
    return combine(added, left, right, beta=beta, alpha=alpha)


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay for 2-D parameters.

    Args:
        params: Parameters or groups; a group may have its own ``lr`` and ``weight_decay``.
        lr: Rate; a matrix [m, n] moves by ``lr * sqrt(max(1, m / n))`` times an orthogonal matrix.
        momentum: Decay of the momentum.
        weight_decay: Factor on the weights taken off in each step, times ``lr``.
        cut_as: Master -> parameter, for matrices that several processes share: whole matrices are made orthogonal.
        dtype: Format of the iteration.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-2,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        cut_as: Mapping[Tensor, Tensor] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.cut_as, self.dtype = cut_as or {}, dtype
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
        for same in by_shape(
            parameters, [cut(self.cut_as[p]) if p in self.cut_as else None for p in parameters]
        ):
            matrices = [self._whole(parameters[i], directions[i]) for i in same]
            rows, columns = matrices[0].shape
            rate = group["lr"] * max(1.0, rows / columns) ** 0.5
            updates = orthogonal_updates(matrices, self.dtype)
            parts = [
                self._part(parameters[i], update) for i, update in zip(same, updates, strict=True)
            ]
            torch._foreach_add_([parameters[i] for i in same], parts, alpha=-rate)

    def _whole(self, master: Tensor, direction: Tensor) -> Tensor:
        return whole_of(direction, self.cut_as[master]) if master in self.cut_as else direction

    def _part(self, master: Tensor, update: Tensor) -> Tensor:
        return part_like(update, self.cut_as[master]) if master in self.cut_as else update

    def _momentum(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return state["momentum_buffer"]


def by_shape(parameters: list[Tensor], kinds: list[Any] | None = None) -> list[list[int]]:
    """Indices of parameters of equal shape (and kind), in order of first appearance."""
    groups: dict[Any, list[int]] = {}
    for index, parameter in enumerate(parameters):
        groups.setdefault((parameter.shape, kinds[index] if kinds else None), []).append(index)
    return list(groups.values())


def orthogonal_updates(
    directions: list[Tensor], dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    """`orthogonalise` for matrices of one shape: in bf16 as one stack, which its units like, in fp32 one by one."""
    if dtype == torch.bfloat16:
        return stacked(directions, dtype)
    return [orthogonalise(direction, dtype).to(direction.dtype) for direction in directions]


def stacked(directions: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """`orthogonalise` for all at once, back in their own format."""
    found = orthogonalise(torch.stack(directions), dtype).to(directions[0].dtype)
    return list(found.unbind())
