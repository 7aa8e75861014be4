"""Policy gradient on sequences that the model itself has written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from ofacore.components.tokens.token_model import TokenPrediction
from ofacore.parallel.host_transfer import item_numbers
from ofacore.protocols import CriterionContext, Loss


class SelfCritical:
    """Self-critical sequence training (Rennie et al. 2017): REINFORCE with the model's own greedy answer as baseline.

    The loss of a drawn sequence is its negative log-probability times its advantage, reward less baseline. The pass
    before the step draws the sequences and gives labels ``ids`` int64 [m], ``advantage`` and ``reward`` fp32 [1] of
    each. Without an advantage (validation) it is the negative log-probability of the reference. The options are read
    by that pass:

    * ``reward``: a metric that gives one number for each sample; empty: the task's first metric on the slot.
    * ``reward_options``: its options.
    * ``baseline``: ``greedy``; ``mean`` of a row's other sequences (needs ``samples`` of 2); ``none``.
    * ``samples``: sequences drawn for each row.
    * ``temperature``: of the draw.
    """

    scope: ClassVar[Literal["position", "segment", "step"]] = "segment"
    needs: ClassVar[frozenset[str]] = frozenset({"rollout"})
    batch_coupled: ClassVar[bool] = False

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        self.options = options or {}

    def count(self, labels: Mapping[str, np.ndarray]) -> int:
        """1: a sequence is one unit, however long what is drawn for it turns out to be."""
        return int(len(labels["ids"]) > 0)

    def __call__(
        self, prediction: TokenPrediction, labels: Mapping[str, Tensor], ctx: CriterionContext
    ) -> Loss:
        """One loss for each sequence; part ``reward``."""
        local = prediction.local(labels["ids"])
        nll, _, _ = prediction.cross_entropy(local)
        item = item_numbers(ctx.lengths, nll.device)
        sums = nll.new_zeros(len(ctx.lengths)).index_add(0, item, nll)
        if "advantage" not in labels:
            return Loss(sums)
        return Loss(sums * labels["advantage"], {"reward": labels["reward"].float()})
