"""Weights that are learned: the gradient of a loss of the merged model by the weight of each run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ofa_merge.combining import Combination, WeightsOf, part_of
from ofacore.model.universal import UniversalModel


class LearnedWeights:
    """Weights of runs, one set for each part of the model or one for all of it.

    As the merged weights are ``theta_0 + sum(w_i tau_i)``, the derivative by ``w_i`` is the product of the gradient of
    theta with tau_i; tau_i is read tensor by tensor, and no graph goes through the merge.

    Args:
        combination: By task arithmetic.
        start: Weights to begin with.
        by_part: Every part has its own.

    Attributes:
        parts: Their names, in the order of the rows of ``values``.
        values: fp32 [parts, runs].
    """

    def __init__(self, combination: Combination, start: Sequence[float], by_part: bool) -> None:
        self.combination, self._by_part = combination, by_part
        named = [self._part(name) for name in combination.shared]
        self.parts = list(dict.fromkeys(named))
        self._rows = {part: row for row, part in enumerate(self.parts)}
        self.values = torch.tensor(start, dtype=torch.float32).repeat(len(self.parts), 1)

    def _part(self, name: str) -> str:
        return part_of(name) if self._by_part else ""

    def of(self, name: str) -> list[float]:
        """Weights of all runs for a tensor."""
        found: list[float] = self.values[self._rows[self._part(name)]].tolist()
        return found

    def told(self) -> list[float] | dict[str, list[float]]:
        """Rounded, for reports: one list, or one for each part."""
        rows = []
        for row in self.values.tolist():
            rows.append([round(value, 4) for value in row])
        return dict(zip(self.parts, rows, strict=True)) if self._by_part else rows[0]

    def learn(
        self,
        model: UniversalModel,
        loss: Callable[[UniversalModel, int], Tensor],
        steps: int,
        rate: float,
    ) -> list[float]:
        """Lower a loss by Adam.

        Args:
            model: The merged one; its weights are replaced at every step.
            loss: (model, step) -> a number with its graph.
            steps: How often.
            rate: Of Adam.

        Returns:
            The loss before each step.
        """
        self.values.requires_grad_(True)
        optimizer = torch.optim.Adam([self.values], lr=rate)
        model.eval().requires_grad_(True)
        losses = []
        for step in range(steps):
            of: WeightsOf = self.of
            model.load_portable(self.combination.all(of))
            model.zero_grad(set_to_none=True)
            found = loss(model, step)
            found.backward()
            losses.append(float(found.detach()))
            self.values.grad = self._gradient(_by_name(model))
            optimizer.step()
        self.values.requires_grad_(False)
        model.zero_grad(set_to_none=True)
        return losses

    def _gradient(self, gradients: dict[str, Tensor]) -> Tensor:
        """[parts, runs]."""
        found = torch.zeros_like(self.values)
        for run in range(len(self.combination.runs)):
            for name, vector in self.combination.named_vectors(run):
                if name in gradients:
                    own = gradients[name].cpu().float()
                    found[self._rows[self._part(name)], run] += (own * vector).sum()
        return found


def _by_name(model: UniversalModel) -> dict[str, Tensor]:
    """Portable name -> gradient."""
    found: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            for portable, rows in model.portable_rows(name).items():
                found[portable] = parameter.grad[rows]
    return found
