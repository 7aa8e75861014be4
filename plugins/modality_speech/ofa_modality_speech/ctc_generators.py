"""Texts out of what CTC hears in a sound: alone, or together with the decoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ofa_modality_speech.ctc import CtcPrediction, ctc_losses
from ofa_modality_speech.ctc_search import NEVER, Found, best_path, prefix_beam
from ofacore.parts import TokenGenerator, feed_tokens
from ofacore.plugin import UserError
from ofacore.protocols import (
    EOS,
    SEP,
    DecodeSession,
    HeadContext,
    Hypothesis,
    Options,
    Produced,
    RowRequest,
)

HEAD = "ctc"


@dataclass(frozen=True)
class Heard:
    """What CTC says of one row's sound."""

    log_probs: Tensor
    """fp32 [positions, 1 + v], on the CPU."""
    ids: np.ndarray
    """int64 [v]."""

    def scores(self, values: Sequence[np.ndarray]) -> list[float]:
        """Log-probabilities of values, int64 ids each, over all alignments.

        Minus infinity where one is too long, or has a token that stands for nothing that is heard, as ``<unk>``.
        """
        heard = [bool(np.isin(value, self.ids).all()) for value in values]
        last = len(self.ids) - 1
        columns = [np.searchsorted(self.ids, value).clip(max=last) + 1 for value in values]
        count, positions = len(values), len(self.log_probs)
        losses = ctc_losses(
            self.log_probs.repeat(count, 1),
            torch.from_numpy(np.concatenate(columns)),
            (positions,) * count,
            tuple(map(len, columns)),
        )
        return [-float(loss) if known else NEVER for loss, known in zip(losses, heard, strict=True)]

    def hypothesis(self, found: Found) -> Hypothesis:
        """The value of found columns."""
        value = self.ids[np.array(found.columns, np.int64) - 1]
        return Hypothesis(value, found.log_prob, log_prob=found.log_prob, tokens=len(found.columns))


def hear(session: DecodeSession, request: RowRequest, listen: str) -> Iterator[Heard]:
    """What CTC says of the sound of each row, one after the other.

    Raises:
        UserError: The model has no such head, or its rows no such sound.
    """
    try:
        hidden, lengths = session.source(listen) if listen else session.source()
    except ValueError as error:
        raise UserError(f"option listen: {error}") from error
    context = HeadContext(lengths, request.spec.blocks)
    try:
        prediction: CtcPrediction = session.predict(HEAD, hidden, context)
    except KeyError as error:
        raise UserError(
            f"slot '{request.slot.name}': the model has no head 'ctc'; train it with a loss "
            "{criterion: ctc, head: ctc} on the sound"
        ) from error
    ids = prediction.ids.cpu().numpy()
    for own in prediction.log_probs.cpu().split(list(lengths)):
        yield Heard(own, ids)


def finish(
    session: DecodeSession, requests: Sequence[RowRequest], produced: Sequence[Produced]
) -> None:
    """Leave the session behind the best candidates, unless nothing follows."""
    if all(request.final for request in requests):
        return
    first = requests[0]
    end = np.array([EOS if first.last else SEP], np.int64)
    values = [np.concatenate([row[0].value, end]) for row in produced]
    feed_tokens(session, values, first.slot.adapter)
    if first.last:
        session.pending = None


class CtcGenerator:
    """``ctc``: the likeliest path, or the likeliest sequences of a beam of prefixes; of a closed set its members.

    The log-probability of a member is that among the members.

    Options ``listen``, ``beam`` and ``n_best``; the model needs a loss ``ctc`` with the head ``ctc``.
    """

    def __init__(self, options: Options) -> None:
        self._listen = str(options.get("listen", ""))
        self._beam = int(options.get("beam", 1))
        self._n_best = int(options.get("n_best", 1))

    def __call__(
        self,
        session: DecodeSession,
        requests: Sequence[RowRequest],
        generator: torch.Generator,
    ) -> list[Produced]:
        """Candidates for each row, best first, ordered by their log-probability."""
        heard = hear(session, requests[0], self._listen)
        produced = [
            tuple(self._candidates(own, request))
            for own, request in zip(heard, requests, strict=True)
        ]
        finish(session, requests, produced)
        return produced

    def _candidates(self, heard: Heard, request: RowRequest) -> list[Hypothesis]:
        members = request.spec.closed_set
        if members:
            scores = _among(heard.scores(members))
            found = [
                Hypothesis(value, score, log_prob=score, tokens=len(value))
                for value, score in zip(members, scores, strict=True)
            ]
            return sorted(found, key=lambda one: -one.score)[: self._n_best]
        log_probs = heard.log_probs.numpy()
        width = max(self._beam, self._n_best)
        if width == 1:
            return [heard.hypothesis(best_path(log_probs))]
        return [heard.hypothesis(one) for one in prefix_beam(log_probs, width)[: self._n_best]]


def _among(scores: Sequence[float]) -> list[float]:
    """Log-probabilities of which one must hold, so that they make 1; as they are where none is possible."""
    total = float(np.logaddexp.reduce(scores))
    return [score - total for score in scores] if total > NEVER else list(scores)


class JointGenerator:
    """``ctc_attention``: what the decoder's beam finds, ordered by both scores (Watanabe et al. 2017, rescoring).

    The score is (1 - w) log p of the decoder + w log p of CTC; options ``ctc_weight``, ``listen``, and those of
    search.
    """

    def __init__(self, options: Options) -> None:
        given = dict(options)
        self._weight = float(given.pop("ctc_weight", 0.3))
        self._listen = str(given.pop("listen", ""))
        self._n_best = int(given.get("n_best", 1))
        width = max(self._n_best, int(given.get("beam", 5)))
        self._attention = TokenGenerator(
            {**given, "strategy": "beam", "beam": width, "n_best": width}
        )

    def __call__(
        self,
        session: DecodeSession,
        requests: Sequence[RowRequest],
        generator: torch.Generator,
    ) -> list[Produced]:
        """Candidates for each row, best first; ``log_prob`` stays that of the decoder."""
        heard = list(hear(session, requests[0], self._listen))
        alone = [replace(request, final=True) for request in requests]
        written = self._attention(session.fork(), alone, generator)
        produced = [
            self._ordered(candidates, own) for candidates, own in zip(written, heard, strict=True)
        ]
        finish(session, requests, produced)
        return produced

    def _ordered(self, candidates: Produced, heard: Heard) -> Produced:
        scores = heard.scores([one.value for one in candidates])
        joint = []
        for one, score in zip(candidates, scores, strict=True):
            attention = (1 - self._weight) * float(one.log_prob or 0.0)
            heard_score = self._weight * score if self._weight else 0.0
            joint.append(replace(one, score=attention + heard_score))
        return tuple(sorted(joint, key=lambda one: -one.score)[: self._n_best])
