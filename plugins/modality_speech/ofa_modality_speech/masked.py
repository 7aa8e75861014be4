"""Masked acoustic modelling (Liu et al. 2020): what was hidden of a sound is told from what is around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ofacore.protocols import CriterionContext, Loss, Options

if TYPE_CHECKING:
    from ofacore.protocols import BuildContext, HeadContext

STRIDE = 4
"""Frames of a position of a source."""


def hidden_labels(frames: np.ndarray, hidden: np.ndarray) -> dict[str, np.ndarray]:
    """Labels of a source: ``values`` float32 [positions, 4 * bins], its own frames, and ``hidden`` bool [positions]."""
    needed = len(hidden) * STRIDE
    filled = np.zeros((max(needed, len(frames)), frames.shape[1]), np.float32)
    filled[: len(frames)] = frames
    return {"values": filled[:needed].reshape(len(hidden), -1), "hidden": hidden}


class MaskedHead(nn.Module):
    """``audio_masked``: an MLP from every position to the four frames that it stands for."""

    positionwise: ClassVar[bool] = True

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        hidden, width = context.hidden, int(context.options["bins"]) * STRIDE
        self.layers = nn.Sequential(
            nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, width)
        )

    def forward(self, hidden: Tensor, ctx: HeadContext) -> Tensor:
        """[m, 4 * bins] of states [m, H]."""
        return self.layers(hidden)  # type: ignore[no-any-return]


class MaskedCriterion:
    """``audio_masked``: mean |error| of a hidden position's frames, summed over hidden positions."""

    scope: ClassVar[Literal["position", "segment", "step"]] = "position"
    needs: ClassVar[frozenset[str]] = frozenset()
    batch_coupled: ClassVar[bool] = False

    def __init__(self, options: Options) -> None:
        pass

    def count(self, labels: Mapping[str, np.ndarray]) -> int:
        """Hidden positions."""
        return int(labels["hidden"].sum())

    def __call__(
        self, prediction: Tensor, labels: Mapping[str, Tensor], ctx: CriterionContext
    ) -> Loss:
        """Losses of all items; part ``l1``.

        Raises:
            ValueError: The head predicts frames of another width.
        """
        wanted = labels["values"].shape[1]
        if prediction.shape[1] != wanted:
            raise ValueError(
                f"head audio_masked predicts {prediction.shape[1] // STRIDE} numbers a frame, but frames have "
                f"{wanted // STRIDE}; set options head/audio_masked: bins={wanted // STRIDE}"
            )
        gaps = (prediction.float() - labels["values"].float()).abs().mean(dim=1)
        gaps = torch.where(labels["hidden"], gaps, 0.0)
        sums = torch.stack([own.sum() for own in gaps.split(list(ctx.lengths))])
        return Loss(sums, {"l1": sums.detach()})

    def distillation(
        self,
        prediction: Tensor,
        taught: Tensor,
        labels: Mapping[str, Tensor],
        ctx: CriterionContext,
    ) -> Loss:
        """The same errors, to what the teacher predicts."""
        return self(prediction, {**labels, "values": taught}, ctx)
