"""All codes of a picture in a few steps (MaskGIT, Chang et al. 2022), against a decode session alone.

Letters in names: R rows, N codes of a picture, M hidden ones of all rows, V codes that there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ofa_modality_image.canvas import Canvas
from ofacore.parts import led_away, row_generators, to_device, unconditional_twin, uniform_rows
from ofacore.plugin import PluginError
from ofacore.protocols import (
    MASK,
    DecodeSession,
    HeadContext,
    Hypothesis,
    Options,
    Produced,
    RowRequest,
)

_NEVER = float("-inf")
_SMALLEST = 1e-20
_CORE = MASK + 1


class MaskgitGenerator:
    """``maskgit``: predicts every hidden code, keeps the surest, hides the others again; ``steps`` times.

    Options: ``steps``; ``code_temperature`` of those that are drawn, 0: the likeliest; ``choice_temperature``, how much
    chance there is in what is kept, less with each step; ``order``: ``confidence``, ``random`` or ``raster`` (row by
    row, which with as many steps as codes is one after the other); ``guidance``; ``n_best``.
    """

    def __init__(self, options: Options) -> None:
        self._options = _Sampling(
            int(options["steps"]),
            float(options["code_temperature"]),
            float(options["choice_temperature"]),
            str(options["order"]),
            float(options["guidance"]),
        )
        self._number = int(options["n_best"])

    @property
    def guided(self) -> bool:
        """Whether the answer without the prompt is needed too."""
        return self._options.guidance != 1.0

    def __call__(
        self,
        session: DecodeSession,
        requests: Sequence[RowRequest],
        generator: torch.Generator,
    ) -> list[Produced]:
        """``n_best`` candidates for each row, all of score 0; the first is committed unless nothing follows.

        Raises:
            PluginError: The slot is not learned by filling in, or guidance has no unconditional twin.
        """
        slot, spec = requests[0].slot, requests[0].spec
        if spec.shift:
            problem = f"slot '{slot.name}': generator maskgit fills in what was hidden in training"
            raise PluginError(f"{problem}; write corruption=masked_codes in the slot")
        canvases = [request.ctx.published.one(slot.name, Canvas) for request in requests]
        given_RN = torch.from_numpy(np.stack([canvas.given for canvas in canvases]))
        known_RN = torch.from_numpy(np.stack([canvas.known for canvas in canvases]))
        twin = unconditional_twin(session, self._options.guidance)
        numbers = row_generators(requests)
        filling = _Filling(session, twin, requests[0], self._options, numbers)
        given_RN, known_RN = given_RN.to(session.device), known_RN.to(session.device)
        drawn = [filling(given_RN, known_RN) for _ in range(self._number)]
        if not all(request.final for request in requests):
            shapes = [(given_RN.shape[1],)] * len(requests)
            session.commit({"tokens": drawn[0].flatten()}, slot.adapter, shapes)
        found = [sample.cpu().numpy() for sample in drawn]
        return [_candidates(found, row) for row in range(len(requests))]


def _candidates(drawn: Sequence[np.ndarray], row: int) -> Produced:
    return tuple(Hypothesis(sample[row]) for sample in drawn)


@dataclass(frozen=True)
class _Sampling:
    """The options of one call."""

    steps: int
    temperature: float
    choice_temperature: float
    order: str
    guidance: float


@dataclass(frozen=True)
class _Filling:
    """Fills pictures of one size, each time with the next numbers of each row's generator."""

    session: DecodeSession
    twin: DecodeSession | None
    request: RowRequest
    options: _Sampling
    numbers: Sequence[torch.Generator]

    def __call__(self, given_RN: Tensor, known_RN: Tensor) -> Tensor:
        """Ids int64 [R, N]."""
        tokens_RN = torch.where(known_RN, given_RN, MASK)
        wanted_R = (~known_RN).sum(1)
        ranks_RN = None
        if self.options.order == "random":
            ranks_RN = self._uniform([1] * len(known_RN), known_RN)
        for step in range(self.options.steps):
            hidden_RN = tokens_RN == MASK
            if not hidden_RN.any():
                break
            filled_RN, logs_RN = self._drawn(tokens_RN)
            sureness_RN = self._sureness(logs_RN, ranks_RN, step)
            sureness_RN = sureness_RN.masked_fill(~hidden_RN, float("inf"))
            left_R = self._left(wanted_R, step + 1)
            order_RN = sureness_RN.argsort(dim=1, stable=True).argsort(dim=1)
            tokens_RN = torch.where(order_RN < left_R[:, None], MASK, filled_RN)
        return tokens_RN

    def _left(self, wanted_R: Tensor, done: int) -> Tensor:
        """int64 [R]: how many codes stay hidden after so many steps: by the cosine, or evenly row by row."""
        share = done / self.options.steps
        kept = 1 - share if self.options.order == "raster" else math.cos(math.pi / 2 * share)
        return (
            (wanted_R * kept + 1e-6).floor().long() if done < self.options.steps else wanted_R * 0
        )

    def _sureness(self, logs_RN: Tensor, ranks_RN: Tensor | None, step: int) -> Tensor:
        """[R, N]: the greater, the sooner a code is kept."""
        if self.options.order == "raster":
            places = torch.arange(logs_RN.shape[1], device=logs_RN.device)
            return -places.to(logs_RN.dtype).expand_as(logs_RN)
        if ranks_RN is not None:
            return ranks_RN
        chance = self.options.choice_temperature * (1 - (step + 1) / self.options.steps)
        return logs_RN + chance * self._gumbel([1] * len(logs_RN), logs_RN)

    def _drawn(self, tokens_RN: Tensor) -> tuple[Tensor, Tensor]:
        """A code for each cell that is hidden, int64 [R, N], and its log-probability."""
        hidden_RN = tokens_RN == MASK
        logits_MV, ids_V = self._logits(self.session, tokens_RN, hidden_RN)
        if self.twin is not None:
            free_MV, _ = self._logits(self.twin, tokens_RN, hidden_RN)
            logits_MV = led_away(logits_MV, free_MV, self.options.guidance)
        logs_MV = logits_MV.log_softmax(-1)
        scores_MV = logs_MV
        if self.options.temperature:
            of_rows = hidden_RN.sum(1).tolist()
            scores_MV = logs_MV / self.options.temperature + self._gumbel(of_rows, logs_MV)
        chosen_M = scores_MV.argmax(-1)
        logs_M = logs_MV.gather(1, chosen_M[:, None])[:, 0]
        drawn_RN = tokens_RN.masked_scatter(hidden_RN, ids_V[chosen_M])
        logs_RN = torch.zeros_like(tokens_RN, dtype=logs_M.dtype).masked_scatter(hidden_RN, logs_M)
        return drawn_RN, logs_RN

    def _logits(
        self, session: DecodeSession, tokens_RN: Tensor, hidden_RN: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits [M, V] of the M codes that are hidden, and ids [V] of codes, without the core's tokens."""
        rows, count = tokens_RN.shape
        slot, blocks = self.request.slot, self.request.spec.blocks
        features = {"tokens": tokens_RN.flatten()}
        states = session.denoise(features, slot.adapter, [(count,)] * rows)
        states = states[hidden_RN.flatten()]
        context = HeadContext(tuple(hidden_RN.sum(1).tolist()), blocks)
        prediction = session.predict(slot.head, states, context)
        own = prediction.ids >= _CORE
        return prediction.logits().float()[:, own], prediction.ids[own]

    def _uniform(self, lengths: Sequence[int], like: Tensor) -> Tensor:
        """[sum of lengths, width of ``like``]: so many of each row."""
        drawn = uniform_rows(self.numbers, lengths, like.shape[1])
        return to_device(drawn, like.device)

    def _gumbel(self, lengths: Sequence[int], like: Tensor) -> Tensor:
        uniform = self._uniform(lengths, like).clamp(min=_SMALLEST)
        return -(-uniform.log()).clamp(min=_SMALLEST).log()
