"""Distance of predicted frames from the clean ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch

from ofacore.protocols import CriterionContext, Loss, Options

if TYPE_CHECKING:
    from torch import Tensor


class DiffusionCriterion:
    """``diffusion``: squared error to the clean sample, mean over the numbers of a frame, summed over frames.

    Options: ``scale_main_loss``; ``scale_aux_loss_1`` of the same error of velocities (differences of neighbouring
    frames), ``scale_aux_loss_2`` of accelerations.
    """

    scope: ClassVar[Literal["position", "segment", "step"]] = "segment"
    needs: ClassVar[frozenset[str]] = frozenset()
    batch_coupled: ClassVar[bool] = False

    def __init__(self, options: Options) -> None:
        self._main = float(options.get("scale_main_loss", 1.0))
        self._auxiliary = tuple(
            float(options.get(f"scale_aux_loss_{order}", 0.0)) for order in (1, 2)
        )

    def count(self, labels: Mapping[str, np.ndarray]) -> int:
        """Frames that are learned."""
        return int(labels["mask"].any(axis=1).sum())

    def __call__(
        self, prediction: Tensor, labels: Mapping[str, Tensor], ctx: CriterionContext
    ) -> Loss:
        """Losses of all items: predicted frames and labels ``clean`` [m, max_dim], label ``mask`` bool [m, max_dim]."""
        clean, mask = labels["clean"].float(), labels["mask"]
        error = torch.where(mask, prediction.float() - clean, 0.0)
        dims = mask.sum(dim=1).clamp(min=1)
        main = _item_sums(error.square().sum(dim=1) / dims, ctx.lengths)
        values, parts = self._main * main, {"mse": main.detach()}
        for order, (scale, name) in enumerate(
            zip(self._auxiliary, ("velocity", "acceleration"), strict=True), start=1
        ):
            if scale:
                term = _difference_losses(error, mask, ctx.lengths, order)
                values, parts[name] = values + scale * term, term.detach()
        return Loss(values, parts)

    def distillation(
        self,
        prediction: Tensor,
        taught: Tensor,
        labels: Mapping[str, Tensor],
        ctx: CriterionContext,
    ) -> Loss:
        """The same errors, to what the teacher predicts."""
        return self(prediction, {**labels, "clean": taught}, ctx)


def _item_sums(values: Tensor, lengths: tuple[int, ...]) -> Tensor:
    return torch.stack([piece.sum() for piece in values.split(list(lengths))])


def _difference_losses(error: Tensor, mask: Tensor, lengths: tuple[int, ...], order: int) -> Tensor:
    """The error of a difference is the difference of errors; given frames have none."""
    losses = []
    for piece, learned in zip(error.split(list(lengths)), mask.split(list(lengths)), strict=True):
        dims = learned.any(dim=0).sum().clamp(min=1)
        losses.append(torch.diff(piece, n=order, dim=0).square().sum() / dims)
    return torch.stack(losses)
