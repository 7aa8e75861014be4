"""Losses of autoregressive synthesis: frames, the end, and attention that goes along the text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ofa_modality_speech.tacotron_modules import StepPrediction
from ofacore.protocols import CriterionContext, Loss, Options


class StepCriterion:
    """``audio_steps``: |error| + error^2 of frames before and after the postnet, and the cross-entropy of the end.

    Errors are means over the numbers of a step, everything is summed over steps. Option ``stop_weight``: of the end,
    which is one of many steps.
    """

    scope: ClassVar[Literal["position", "segment", "step"]] = "segment"
    needs: ClassVar[frozenset[str]] = frozenset()
    batch_coupled: ClassVar[bool] = False

    def __init__(self, options: Options) -> None:
        self._stop_weight = float(options.get("stop_weight", 5.0))

    def count(self, labels: Mapping[str, np.ndarray]) -> int:
        """Steps."""
        return len(labels["values"])

    def __call__(
        self, prediction: StepPrediction, labels: Mapping[str, Tensor], ctx: CriterionContext
    ) -> Loss:
        """Losses of all items; parts ``l1``, ``mse`` and ``stop``."""
        mask = labels["mask"].float()
        used = mask.sum(dim=1).clamp(min=1)
        gaps = [
            (frames.float() - labels["values"].float()) * mask
            for frames in (prediction.before, prediction.after)
        ]
        absolute = sum(gap.abs().sum(dim=1) / used for gap in gaps)
        square = sum(gap.square().sum(dim=1) / used for gap in gaps)
        ends = binary_cross_entropy_with_logits(
            prediction.stop.float(),
            labels["stop"].float(),
            pos_weight=torch.tensor(self._stop_weight, device=mask.device),
            reduction="none",
        )
        parts = {"l1": absolute, "mse": square, "stop": ends}
        sums = {name: _sums(values, ctx.lengths) for name, values in parts.items()}
        values = sums["l1"] + sums["mse"] + sums["stop"]
        return Loss(values, {name: own.detach() for name, own in sums.items()})


class GuidedStepCriterion(StepCriterion):
    """``audio_steps_guided``: the same, and attention away from the diagonal (Tachibana et al. 2018).

    A step n of N that reads a position t of T costs 1 - exp(-(n/N - t/T)^2 / (2 sigma^2)), weighed by how much it
    reads it, mean over heads. Options ``guide_weight``, ``sigma`` and ``layers``.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"attention"})

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._guide_weight = float(options.get("guide_weight", 1.0))
        self._sigma = float(options.get("sigma", 0.4))
        self.attention_layers = tuple(int(layer) for layer in options.get("layers", (-1,)))

    def __call__(
        self, prediction: StepPrediction, labels: Mapping[str, Tensor], ctx: CriterionContext
    ) -> Loss:
        """Losses of all items; part ``guide`` besides."""
        plain = super().__call__(prediction, labels, ctx)
        costs = []
        for layer in ctx.attention or ():
            of_items = [self._cost(item) for item in layer]
            costs.append(torch.stack(of_items))
        if not costs:
            return plain
        guide = torch.stack(costs).mean(dim=0)
        values = plain.values + self._guide_weight * guide
        return Loss(values, {**plain.parts, "guide": guide.detach()})

    def _cost(self, attention: Tensor) -> Tensor:
        """Of one item's attention [heads, steps, positions]."""
        _, steps, positions = attention.shape
        row = torch.arange(steps, device=attention.device) / max(1, steps)
        column = torch.arange(positions, device=attention.device) / max(1, positions)
        gaps = row[:, None] - column
        away = 1 - torch.exp(-gaps.square() / (2 * self._sigma**2))
        if not attention.numel():
            return attention.float().sum()
        return (attention.float() * away).sum(dim=(1, 2)).mean()


def _sums(values: Tensor, lengths: tuple[int, ...]) -> Tensor:
    return torch.stack([own.sum() for own in values.split(list(lengths))])
