"""Frames one step after the other, against a decode session alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ofa_modality_speech.asked import AskedAudio
from ofa_modality_speech.tacotron_modules import StepPrediction
from ofa_modality_speech.tacotron_options import STEP_OPTIONS
from ofacore.protocols import (
    DecodeSession,
    HeadContext,
    Hypothesis,
    Options,
    Produced,
    RowRequest,
)


class StepGenerator:
    """``audio_steps``: each step from those before, until the end is likely; then all are refined by the postnet.

    Its options are `STEP_OPTIONS`.
    """

    def __init__(self, options: Options) -> None:
        found = {name: options.get(name, one.default) for name, one in STEP_OPTIONS.items()}
        self._most = int(found["max_frames"])
        self._threshold = float(found["stop_threshold"])

    def __call__(
        self,
        session: DecodeSession,
        requests: Sequence[RowRequest],
        generator: torch.Generator,
    ) -> list[Produced]:
        """One candidate for each row, of score 0; the session stands behind its steps."""
        slot = requests[0].slot
        asked = [request.ctx.published.one(slot.name, AskedAudio) for request in requests]
        limits = [self._limit(one) for one in asked]
        states = self._walk(session, slot.adapter, slot.head, asked, limits)
        lengths = tuple(map(len, states))
        whole: StepPrediction = session.predict(slot.head, torch.cat(states), HeadContext(lengths))
        rows = whole.after.float().cpu().split(list(lengths))
        return [
            (Hypothesis(_frames(own, one).numpy()),) for own, one in zip(rows, asked, strict=True)
        ]

    def _limit(self, asked: AskedAudio) -> int:
        """Most steps of a row."""
        frames = asked.frames if asked.asked else self._most
        return math.ceil(frames / asked.step)

    def _walk(
        self,
        session: DecodeSession,
        adapter: str,
        head: str,
        asked: Sequence[AskedAudio],
        limits: Sequence[int],
    ) -> list[Tensor]:
        """Hidden states [steps, H] of each row."""
        going = torch.ones(session.rows, dtype=torch.bool)
        found: list[list[Tensor]] = [[] for _ in limits]
        steps = torch.zeros(session.rows, asked[0].width, device=session.device)
        while going.any():
            valid = None if going.all() else going[:, None].to(session.device)
            hidden = session.step({"steps": steps}, adapter, valid)[:, 0]
            for row in going.nonzero()[:, 0].tolist():
                found[row].append(hidden[row])
            one: StepPrediction = session.predict(head, hidden, HeadContext((1,) * session.rows))
            steps = _masked(one.before.float(), asked)
            ended = (one.stop.float().sigmoid() >= self._threshold).cpu()
            for row, (own, limit) in enumerate(zip(found, limits, strict=True)):
                if len(own) >= limit or (ended[row] and not asked[row].asked):
                    going[row] = False
        return [torch.stack(own) for own in found]


def _masked(steps: Tensor, asked: Sequence[AskedAudio]) -> Tensor:
    """Steps [rows, width] as encoding would give them: zeros behind the frames of a step."""
    used = torch.tensor([one.step * one.bins for one in asked], device=steps.device)
    columns = torch.arange(steps.shape[1], device=steps.device)
    return torch.where(columns < used[:, None], steps, 0.0)


def _frames(steps: Tensor, asked: AskedAudio) -> Tensor:
    """[frames, bins] of steps [steps, width]."""
    frames = steps[:, : asked.step * asked.bins].reshape(-1, asked.bins)
    return frames[: asked.frames] if asked.asked else frames
