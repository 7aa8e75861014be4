"""Frames out of noise by flow matching, against a decode session alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ofa_modality_speech.asked import AskedAudio
from ofa_modality_speech.flow_options import FLOW_OPTIONS
from ofa_modality_speech.lengths import predicted_frames
from ofa_modality_speech.shapes import positions_of
from ofacore.parts import led_away, normal_rows, row_generators, to_device, unconditional_twin
from ofacore.protocols import (
    DecodeSession,
    HeadContext,
    Hypothesis,
    Options,
    Produced,
    RowRequest,
    SlotPlan,
)


class FlowGenerator:
    """``audio_flow``: from noise to frames in equal or swayed steps of Euler's method; options `FLOW_OPTIONS`."""

    def __init__(self, options: Options) -> None:
        found = {name: options.get(name, one.default) for name, one in FLOW_OPTIONS.items()}
        self._options = _Sampling(**found)

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
            PluginError: Guidance without an unconditional twin of the session.
        """
        slot = requests[0].slot
        asked = [request.ctx.published.one(slot.name, AskedAudio) for request in requests]
        frames = [one.frames for one in asked]
        if self._options.lengths == "predicted":
            frames = predicted_frames(session, asked, self._options.text)
        steps = [one.step for one in asked]
        stage = Stage(slot, tuple(zip(frames, steps, strict=True)), asked[0].bins)
        twin = unconditional_twin(session, self._options.guidance)
        numbers = row_generators(requests)
        sampler = _Sampler(session, twin, stage, self._options, numbers)
        samples = [sampler() for _ in range(self._options.n_best)]
        if not all(request.final for request in requests):
            session.commit(stage.features(samples[0], 0.0), slot.adapter, stage.shapes)
        pieces = [sample.cpu().split(frames) for sample in samples]
        return [_candidates(row) for row in zip(*pieces, strict=True)]


def _candidates(pieces: Sequence[Tensor]) -> Produced:
    return tuple(Hypothesis(piece.numpy()) for piece in pieces)


@dataclass(frozen=True)
class _Sampling:
    """The options of one call."""

    steps: int
    guidance: float
    sway: float
    temperature: float
    lengths: str
    text: str
    n_best: int

    def moments(self) -> list[float]:
        """Shares of the way from 0 to 1 at which the direction is asked for, and 1.

        With sway s: t + s (cos(pi t / 2) - 1 + t), more steps near the noise for negative s (Chen et al. 2024).
        """
        even = torch.linspace(0, 1, self.steps + 1, dtype=torch.float64)
        swayed = even + self.sway * (torch.cos(torch.pi / 2 * even) - 1 + even)
        return [float(moment) for moment in swayed]


@dataclass(frozen=True)
class Stage:
    """The sounds of all rows to be, over M = sum of frames."""

    slot: SlotPlan
    shapes: tuple[tuple[int, int], ...]
    """(frames, frames a position) of each row."""
    bins: int

    @property
    def lengths(self) -> tuple[int, ...]:
        """Positions of each row."""
        return tuple(positions_of(shape) for shape in self.shapes)

    def features(self, frames: Tensor, level: float) -> Mapping[str, Tensor]:
        """Input of the adapter."""
        noise = torch.full((sum(self.lengths),), level, device=frames.device)
        return {"frames": frames, "level": noise}

    def unpacked(self, prediction: Tensor) -> Tensor:
        """[M, bins] of numbers a position [positions, width]."""
        rows = []
        for own, (frames, step) in zip(prediction.split(self.lengths), self.shapes, strict=True):
            rows.append(own[:, : step * self.bins].reshape(-1, self.bins)[:frames])
        return torch.cat(rows)


@dataclass
class _Sampler:
    """Runs from noise to frames, each time with the next numbers of each row's generator."""

    session: DecodeSession
    twin: DecodeSession | None
    stage: Stage
    options: _Sampling
    numbers: Sequence[torch.Generator]

    def __call__(self) -> Tensor:
        """Clean frames float32 [M, bins]."""
        lengths = [frames for frames, _ in self.stage.shapes]
        noise = normal_rows(self.numbers, lengths, self.stage.bins)
        frames = to_device(noise, self.session.device) * self.options.temperature
        moments = self.options.moments()
        for now, then in zip(moments[:-1], moments[1:], strict=True):
            frames = frames + (then - now) * self._direction(frames, 1.0 - now)
        return frames

    def _direction(self, frames: Tensor, level: float) -> Tensor:
        """Led away from that without the prompt (Ho & Salimans 2022)."""
        conditional = self._predict(self.session, frames, level)
        if self.twin is None:
            return conditional
        free = self._predict(self.twin, frames, level)
        return led_away(conditional, free, self.options.guidance)

    def _predict(self, session: DecodeSession, frames: Tensor, level: float) -> Tensor:
        stage = self.stage
        features = stage.features(frames, level)
        hidden = session.denoise(features, stage.slot.adapter, stage.shapes)
        prediction = session.predict(stage.slot.head, hidden, HeadContext(stage.lengths))
        return stage.unpacked(prediction.float())
