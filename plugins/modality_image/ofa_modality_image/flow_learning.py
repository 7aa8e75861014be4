"""How a picture is learned by flow: a point between noise and picture, and the distance from the picture.

Rectified flow (Liu et al. 2022) with levels drawn as Esser et al. 2024 do. The model predicts the clean patches, and
the loss is that of the velocity that follows from them (Li & He 2025).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch

from ofacore.protocols import CriterionContext, DenseSegment, Loss, Options

if TYPE_CHECKING:
    from torch import Tensor

_NEAREST = 0.05
"""Levels nearer to the picture than this weigh no more."""


class FlowCorruption:
    """``image_flow``: one level for the whole picture, logit-normal; patches without loss stay clean at level 1."""

    def __init__(self, options: Options) -> None:
        pass

    def __call__(self, segment: DenseSegment, rng: np.random.Generator) -> DenseSegment:
        """Noised patches and their level; later segments see the clean ones. Adds a label ``weight`` [n, 1]."""
        if segment.labels is None:
            return segment
        clean = segment.features["patches"]
        level = np.float32(1 / (1 + math.exp(-rng.standard_normal())))
        noise = rng.standard_normal(clean.shape, dtype=np.float32)
        learned = np.ones(len(clean), bool)
        if segment.loss_positions is not None:
            learned = np.isin(np.arange(len(clean)), segment.loss_positions)
        noised = level * clean + (1 - level) * noise
        features = {
            "patches": np.where(learned[:, None], noised, clean),
            "level": np.where(learned, level, np.float32(1)),
        }
        factor = 1 / max(1 - float(level), _NEAREST)
        weight = np.full((int(learned.sum()), 1), factor, np.float32)
        labels = {**segment.labels, "weight": weight}
        return replace(segment, features=features, labels=labels, context=segment.features)


class FlowCriterion:
    """``image_flow``: squared error of the velocity, mean over the numbers of a patch, summed over patches.

    Prediction [m, W], the clean patches; labels ``values`` [m, W], and ``weight`` [m, 1] that errors are multiplied
    with before they are squared.
    """

    scope: ClassVar[Literal["position", "segment", "step"]] = "position"
    needs: ClassVar[frozenset[str]] = frozenset()
    batch_coupled: ClassVar[bool] = False

    def __init__(self, options: Options) -> None:
        pass

    def count(self, labels: Mapping[str, np.ndarray]) -> int:
        """Patches that are learned."""
        return len(labels["values"])

    def __call__(
        self, prediction: Tensor, labels: Mapping[str, Tensor], ctx: CriterionContext
    ) -> Loss:
        """Sum of each item's errors."""
        errors = (prediction.float() - labels["values"].float()) * labels["weight"].float()
        squares = errors.square().mean(dim=1)
        sums = torch.stack([part.sum() for part in squares.split(list(ctx.lengths))])
        return Loss(sums)

    def distillation(
        self,
        prediction: Tensor,
        taught: Tensor,
        labels: Mapping[str, Tensor],
        ctx: CriterionContext,
    ) -> Loss:
        """The same errors, to what the teacher predicts."""
        return self(prediction, {**labels, "values": taught}, ctx)
