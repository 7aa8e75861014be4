"""Numbers predicted in one pass: the head, the criterion and the generator that serve `ValuesPreprocessor`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ofacore.components.published import AskedValues
from ofacore.components.vectors.values import value_features
from ofacore.ground.errors import UserError
from ofacore.ground.vocabulary import CORE_TOKENS
from ofacore.protocols import (
    BuildContext,
    CriterionContext,
    DecodeSession,
    HeadContext,
    Hypothesis,
    Loss,
    Options,
    Produced,
    RowRequest,
)


class ValuesHead(nn.Module):
    """One linear layer from each state to ``width`` numbers (option, default 1).

    Announce it under a name of your own, since its width is that of your values:
    ``Component("head", "mine", "ofacore.parts:ValuesHead", options={"width": Option(3, "Numbers a position.")})``.
    """

    positionwise: ClassVar[bool] = True

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(context.hidden)
        self.project = nn.Linear(context.hidden, int(context.options.get("width", 1)))

    def forward(self, hidden: Tensor, ctx: HeadContext) -> Tensor:
        """States [m, H] -> numbers [m, width]."""
        return self.project(self.norm(hidden))  # type: ignore[no-any-return]


class SquaredError:
    """``squared_error``: (prediction - label)^2, mean over the numbers of a position, summed over positions.

    Prediction [m, width]; label ``values`` float32 [m, width]. With a label ``mask``, bool [m, width], the mean of a
    position is over its numbers that are True, one or more.
    """

    scope: ClassVar[Literal["position", "segment", "step"]] = "position"
    needs: ClassVar[frozenset[str]] = frozenset()
    batch_coupled: ClassVar[bool] = False

    def __init__(self, options: Options) -> None:
        pass

    def count(self, labels: Mapping[str, np.ndarray]) -> int:
        """Positions."""
        return len(labels["values"])

    def __call__(
        self, prediction: Tensor, labels: Mapping[str, Tensor], ctx: CriterionContext
    ) -> Loss:
        """Sum of each item's errors."""
        squares = (prediction.float() - labels["values"].float()).square()
        if "mask" in labels:
            mask = labels["mask"].to(squares.dtype)
            errors = (squares * mask).sum(1) / mask.sum(1)
        else:
            errors = squares.mean(1)
        sums = torch.stack([part.sum() for part in errors.split(list(ctx.lengths))])
        return Loss(sums, {"mse": sums.detach()})

    def distillation(
        self,
        prediction: Tensor,
        taught: Tensor,
        labels: Mapping[str, Tensor],
        ctx: CriterionContext,
    ) -> Loss:
        """The same errors, to what the teacher predicts."""
        return self(prediction, {**labels, "values": taught}, ctx)


class OneShotGenerator:
    """``one_shot``: all positions of a value asked for at once, predicted by the slot's head in one pass.

    The length of each value comes with its request; there is one candidate, of score 0. The preprocessor publishes an
    `AskedValues`. Of a dense segment with vocabulary blocks the likeliest token of each position is taken, and the
    log-probability of a candidate is the sum of theirs.
    """

    def __init__(self, options: Options) -> None:
        pass

    def __call__(
        self,
        session: DecodeSession,
        requests: Sequence[RowRequest],
        generator: torch.Generator,
    ) -> list[Produced]:
        """One candidate for each row, float32 [n, width], or int64 [n] ids of the slot's blocks.

        Raises:
            UserError: Something follows a value of tokens: only its own plugin knows which features stand for it.
            ValueError: A request without a length.
        """
        slot, lengths = requests[0].slot, [_length(request) for request in requests]
        width = requests[0].ctx.published.one(slot.name, AskedValues).width
        asked = _features(np.zeros((sum(lengths), width), np.float32), False, session)
        shapes = [_shape(request) for request in requests]
        hidden = session.denoise(asked, slot.adapter, shapes)
        if requests[0].spec.blocks:
            return _chosen(session, hidden, requests)
        found = (
            session.predict(slot.head, hidden, HeadContext(tuple(lengths))).float().cpu().numpy()
        )
        if not all(request.final for request in requests):
            session.commit(_features(found, True, session), slot.adapter, shapes)
        return [(Hypothesis(part),) for part in np.split(found, np.cumsum(lengths)[:-1])]


def _chosen(
    session: DecodeSession, hidden: Tensor, requests: Sequence[RowRequest]
) -> list[Produced]:
    """The likeliest token at each position [m, H] of a dense segment; one candidate for each row."""
    slot, spec = requests[0].slot, requests[0].spec
    if not all(request.final for request in requests):
        problem = "generator one_shot cannot show tokens of a dense segment to what follows"
        raise UserError(
            f"slot '{slot.name}': {problem}; put it last, or name a generator that commits its features"
        )
    lengths = tuple(_length(request) for request in requests)
    prediction = session.predict(slot.head, hidden, HeadContext(lengths, spec.blocks))
    logs, columns = prediction.log_probs[:, prediction.ids >= len(CORE_TOKENS)].max(-1)
    ids = prediction.ids[prediction.ids >= len(CORE_TOKENS)][columns].cpu()
    return [
        (
            Hypothesis(
                own.numpy(),
                log_probs=log.float().numpy(),
                log_prob=float(log.sum()),
                tokens=len(own),
            ),
        )
        for own, log in zip(ids.split(lengths), logs.cpu().split(lengths), strict=True)
    ]


def _length(request: RowRequest) -> int:
    if request.spec.length is None:
        raise ValueError(
            f"generator one_shot: the preprocessor of '{request.slot.name}' expects no length"
        )
    return request.spec.length


def _shape(request: RowRequest) -> tuple[int, ...]:
    """Shape of the segment, as encoding would give it."""
    return request.ctx.published.one(request.slot.name, AskedValues).shape or (_length(request),)


def _features(values: np.ndarray, known: bool, session: DecodeSession) -> dict[str, Tensor]:
    return {
        name: torch.from_numpy(part).to(session.device)
        for name, part in value_features(values, known).items()
    }
