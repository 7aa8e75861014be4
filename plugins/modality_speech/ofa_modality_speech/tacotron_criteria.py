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
        frames = labels["values"], labels["values"]
        return self._loss(prediction, frames, labels["stop"], labels["mask"], ctx)

    def distillation(
        self,
        prediction: StepPrediction,
        taught: StepPrediction,
        labels: Mapping[str, Tensor],
        ctx: CriterionContext,
    ) -> Loss:
        """The same, to the teacher's frames before and after its postnet and to how likely it takes an end to be."""
        ends = taught.stop.float().sigmoid()
        ends = ends / (
            ends + self._stop_weight * (1 - ends)
        )  # so that the weighed loss is least at the teacher's
        return self._loss(prediction, (taught.before, taught.after), ends, labels["mask"], ctx)

    def _loss(
        self,
        prediction: StepPrediction,
        frames: tuple[Tensor, Tensor],
        ends: Tensor,
        mask: Tensor,
        ctx: CriterionContext,
    ) -> Loss:
        """Distance from frames before and after the postnet, and from ends [steps] between 0 and 1."""
        mask = mask.float()
        used = mask.sum(dim=1).clamp(min=1)
        pairs = zip((prediction.before, prediction.after), frames, strict=True)
        gaps = [(own.float() - wanted.float()) * mask for own, wanted in pairs]
        absolute = sum(gap.abs().sum(dim=1) / used for gap in gaps)
        square = sum(gap.square().sum(dim=1) / used for gap in gaps)
        stop = binary_cross_entropy_with_logits(
            prediction.stop.float(),
            ends.float(),
            pos_weight=torch.tensor(self._stop_weight, device=mask.device),
            reduction="none",
        )
        parts = {"l1": absolute, "mse": square, "stop": stop}
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
