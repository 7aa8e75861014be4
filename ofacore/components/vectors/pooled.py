"""Classification from the source alone: positions are averaged and scored against tokens; no decoder takes part.

The labels are single tokens. A task declares the loss ``{criterion: pooled_cross_entropy, hidden: <source slot>,
labels: <target slot>}``, its target slot has ``head=pooling,generator=pooling``, and its source begins with the pooled
slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ofacore.components.tokens.cross_entropy import divergence
from ofacore.components.tokens.token_model import TokenPrediction, silent_columns
from ofacore.ground.errors import UserError
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


class PoolingHead(nn.Module):
    """Mean of some positions of each item, scored against tokens.

    Options:
        begin: First position, counted within the item.
        end: Last one, itself included; -1: all that follow. 0 and 0 take the class token of an image.
        norm_before: Layer norm of each position.
        norm_after: Layer norm of the mean.
        whole: The tokens of all blocks compete, not those of the slot alone.
    """

    positionwise: ClassVar[bool] = False

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        options = context.options
        self.begin, self.end = int(options.get("begin", 0)), int(options.get("end", 0))
        if self.begin < 0 or (self.end != -1 and self.end < self.begin):
            raise UserError(
                f"head pooling: begin={self.begin} and end={self.end} leave no position"
            )
        self.before = nn.LayerNorm(context.hidden) if options.get("norm_before") else nn.Identity()
        self.after = nn.LayerNorm(context.hidden) if options.get("norm_after") else nn.Identity()
        self._embedding = (context.embedding,)
        self._all = (
            tuple(block.name for block in context.vocabulary.blocks) if options.get("whole") else ()
        )

    def forward(self, hidden: Tensor, ctx: HeadContext) -> TokenPrediction:
        """States [m, H] of whole items -> prediction with states [items, H].

        Raises:
            UserError: An item is too short.
        """
        stop = None if self.end == -1 else self.end + 1
        parts = [part[self.begin : stop] for part in self.before(hidden).split(ctx.lengths)]
        if any(not len(part) for part in parts):
            raise UserError(
                f"head pooling: an item of {min(ctx.lengths)} positions has none at begin={self.begin}"
            )
        pooled = self.after(torch.stack([part.mean(0) for part in parts]))
        embedding = self._embedding[0]
        weight, ids, columns = embedding.output_part(self._all or ctx.blocks)
        return TokenPrediction(
            pooled,
            weight,
            ids,
            columns,
            embedding.output_bias(ids),
            silent_columns(embedding.silent, ids),
        )


class PooledCrossEntropy(nn.Module):
    """Negative log-likelihood of one token for each item, with label smoothing. Labels: ``ids`` int64 [items]."""

    scope: ClassVar[Literal["position", "segment", "step"]] = "segment"
    needs: ClassVar[frozenset[str]] = frozenset()
    batch_coupled: ClassVar[bool] = False

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.label_smoothing = float((options or {}).get("label_smoothing", 0.0))

    def count(self, labels: Mapping[str, np.ndarray]) -> int:
        """One unit for each item.

        Raises:
            UserError: The label is not exactly one token.
        """
        if len(labels["ids"]) != 1:
            raise UserError(
                f"pooled_cross_entropy: a label has {len(labels['ids'])} tokens, not 1; {_REMEDY}"
            )
        return 1

    def forward(
        self, prediction: TokenPrediction, labels: Mapping[str, Tensor], ctx: CriterionContext
    ) -> Loss:
        """Loss of each item; parts ``nll`` and ``accuracy``.

        Raises:
            UserError: The head does not pool.
        """
        if len(prediction.hidden) != len(ctx.lengths):
            raise UserError(
                f"pooled_cross_entropy: its head gives {len(prediction.hidden)} predictions for "
                f"{len(ctx.lengths)} items, not one for each; give the labels head=pooling,generator=pooling"
            )
        local = prediction.local(labels["ids"])
        values, nll, right = prediction.cross_entropy(local, self.label_smoothing)
        return Loss(values, {"nll": nll.detach(), "accuracy": right.float()})

    def distillation(
        self,
        prediction: TokenPrediction,
        taught: TokenPrediction,
        labels: Mapping[str, Tensor],
        ctx: CriterionContext,
    ) -> Loss:
        """Kullback-Leibler divergence from the teacher's token."""
        return Loss(divergence(prediction.logits(), taught.logits()))


class PooledGenerator:
    """The most likely tokens of a target slot by the pooled source; every row of a closed set gets its probability.

    Option ``n_best``: number of candidates.
    """

    def __init__(self, options: Options | None = None) -> None:
        self.n_best = int((options or {}).get("n_best", 1))

    def __call__(
        self,
        session: DecodeSession,
        requests: Sequence[RowRequest],
        generator: torch.Generator,
    ) -> list[Produced]:
        """Candidates for each row, best first.

        Raises:
            UserError: Something follows the slot, or a value of its closed set is not one token.
        """
        if not all(request.final for request in requests):
            raise UserError(
                f"slot '{requests[0].slot.name}': a pooled slot must be the last of its target"
            )
        hidden, lengths = session.source()
        request = requests[0]
        prediction = session.predict(
            request.slot.head, hidden, HeadContext(lengths, request.spec.blocks)
        )
        return [
            _best(logits, prediction.ids, request, self.n_best)
            for logits, request in zip(prediction.logits(), requests, strict=True)
        ]


_REMEDY = "give the slot preprocess=category, so that each label is one token"


def _best(logits: Tensor, ids: Tensor, request: RowRequest, number: int) -> Produced:
    """logits fp32 [v] of vocabulary ids int64 [v]."""
    if request.spec.closed_set:
        if any(len(member) != 1 for member in request.spec.closed_set):
            longest = max(len(member) for member in request.spec.closed_set)
            raise UserError(
                f"slot '{request.slot.name}': a value has {longest} tokens, not 1; {_REMEDY}"
            )
        allowed = torch.from_numpy(np.unique(np.concatenate(request.spec.closed_set))).to(
            ids.device
        )
        kept = torch.isin(ids, allowed)
        logits, ids = logits[kept], ids[kept]
    scores, places = logits.log_softmax(-1).topk(min(number, len(ids)))
    pairs = zip(scores.tolist(), ids[places].tolist(), strict=True)
    return tuple(
        Hypothesis(np.array([token]), log, np.array([log], np.float32), log_prob=log, tokens=1)
        for log, token in pairs
    )
