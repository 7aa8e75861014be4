"""How long a sound becomes, predicted from the states of what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ofa_modality_speech.asked import AskedAudio
from ofacore.plugin import UserError
from ofacore.protocols import CriterionContext, DecodeSession, HeadContext, Loss, Options

if TYPE_CHECKING:
    from ofacore.protocols import BuildContext

HEAD = "audio_length"
_SHORTEST, _LONGEST = 4, 20_000
"""Frames that are produced at least and at most, whatever is predicted."""


class LengthHead(nn.Module):
    """``audio_length``: each position adds its share to the length; the logarithm of their sum is predicted."""

    positionwise: ClassVar[bool] = False

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        hidden = context.hidden
        self.layers = nn.Sequential(
            nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 1)
        )
        self.scale = nn.Parameter(torch.tensor(6.0))

    def forward(self, hidden: Tensor, ctx: HeadContext) -> Tensor:
        """fp32 [items]: logarithm of the numbers (frames times bins) of each item's sound, from states [m, H]."""
        shares = softplus(self.layers(hidden).float())[:, 0]
        sums = torch.stack([own.sum() for own in shares.split(list(ctx.lengths))])
        return sums.clamp(min=1e-6).log() + self.scale.float()


class LengthCriterion:
    """``audio_length``: squared difference of logarithms; labels are those of the sound, each item counts once."""

    scope: ClassVar[Literal["position", "segment", "step"]] = "segment"
    needs: ClassVar[frozenset[str]] = frozenset()
    batch_coupled: ClassVar[bool] = False

    def __init__(self, options: Options) -> None:
        pass

    def count(self, labels: Mapping[str, np.ndarray]) -> int:
        """1, of a sound that has frames."""
        return int(labels["mask"].any())

    def __call__(
        self, prediction: Tensor, labels: Mapping[str, Tensor], ctx: CriterionContext
    ) -> Loss:
        """Losses of all items; part ``error``: how far the length is off, as a factor's logarithm."""
        numbers = labels["mask"].sum(dim=1)
        sums = torch.stack([own.sum() for own in numbers.split(list(ctx.label_lengths["mask"]))])
        known = (sums > 0) & prediction.isfinite()
        gaps = torch.where(known, prediction.float() - sums.clamp(min=1).log(), 0.0)
        return Loss(gaps.square(), {"error": gaps.abs().detach()})

    def distillation(
        self,
        prediction: Tensor,
        taught: Tensor,
        labels: Mapping[str, Tensor],
        ctx: CriterionContext,
    ) -> Loss:
        """Squared difference from the teacher's logarithm."""
        known = prediction.isfinite() & taught.isfinite()
        return Loss(torch.where(known, prediction.float() - taught.float(), 0.0).square())


def predicted_frames(
    session: DecodeSession, asked: Sequence[AskedAudio], slot: str = ""
) -> list[int]:
    """Frames of each row: those that it asks for, else those that the head predicts from a slot of its source.

    Raises:
        UserError: The model has no such head, or its rows no such slot.
    """
    try:
        hidden, lengths = session.source(slot) if slot else session.source()
    except ValueError as error:
        raise UserError(f"option text: {error}") from error
    try:
        logs = session.predict(HEAD, hidden, HeadContext(lengths)).cpu()
    except KeyError as error:
        raise UserError(
            "lengths=predicted: the model has no head 'audio_length'; train it with a loss "
            "{criterion: audio_length, head: audio_length} on the text, or use lengths=given"
        ) from error
    found = []
    for own, log in zip(asked, logs.tolist(), strict=True):
        frames = round(float(np.exp(log)) / own.bins)
        if own.asked:
            found.append(own.frames)
        else:
            found.append(int(np.clip(frames, _SHORTEST, _LONGEST)))
    return found
