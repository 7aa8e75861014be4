"""Sampling of frames by diffusion, against a decode session alone."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ofa_modality_motion.canvas import Canvas
from ofa_modality_motion.options import DIFFUSION_OPTIONS
from ofa_modality_motion.schedulers import build_scheduler
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

_HEAD = "motion"


class DiffusionGenerator:
    """``diffusion``: from noise to clean frames by a scheduler of `diffusers`.

    Its options are `DIFFUSION_OPTIONS`. Lengths come with the requests.
    """

    def __init__(self, options: Options) -> None:
        self._options = _Sampling(
            **{name: options.get(name, one.default) for name, one in DIFFUSION_OPTIONS.items()}
        )

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
            PluginError: Guidance without an unconditional twin of the session, an unknown scheduler, or too many steps.
        """
        options = self._options
        twin = unconditional_twin(session, options.guidance)
        slot = requests[0].slot
        stage = _stage(
            [request.ctx.published.one(slot.name, Canvas) for request in requests], session.device
        )
        sampler = _Sampler(session, twin, slot, stage, options, row_generators(requests))
        samples = [sampler() for _ in range(options.n_best)]
        if not all(request.final for request in requests):
            session.commit(stage.features(samples[0], 0), slot.adapter, stage.shapes)
        pieces = [sample.cpu().split(list(stage.lengths)) for sample in samples]
        return [_candidates(row) for row in zip(*pieces, strict=True)]


def _candidates(pieces: Sequence[Tensor]) -> Produced:
    return tuple(Hypothesis(piece.numpy()) for piece in pieces)


@dataclass(frozen=True)
class _Sampling:
    """The options of one call."""

    scheduler: str
    steps: int
    guidance: float
    n_best: int


@dataclass(frozen=True)
class _Stage:
    """All rows' canvases as tensors over M = sum of frames."""

    lengths: tuple[int, ...]
    given: Tensor
    """[M, max_dim]."""
    known: Tensor
    """bool [M, 1]."""
    used: Tensor
    """bool [M, max_dim]: numbers that a row's clips have."""

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [(length,) for length in self.lengths]

    def imposed(self, frames: Tensor) -> Tensor:
        """Frames with given ones in their places and zeros in unused columns."""
        return torch.where(self.known, self.given, torch.where(self.used, frames, 0.0))

    def features(self, frames: Tensor, level: int) -> Mapping[str, Tensor]:
        """Input of the adapter: given frames are clean whatever the level."""
        return {"frames": frames, "level": torch.where(self.known[:, 0], 0, level)}


def _stage(canvases: Sequence[Canvas], device: torch.device) -> _Stage:
    used = [np.broadcast_to(np.arange(c.given.shape[1]) < c.dims, c.given.shape) for c in canvases]
    return _Stage(
        lengths=tuple(len(canvas.known) for canvas in canvases),
        given=torch.from_numpy(np.concatenate([canvas.given for canvas in canvases])).to(device),
        known=torch.from_numpy(np.concatenate([canvas.known for canvas in canvases]))[:, None].to(
            device
        ),
        used=torch.from_numpy(np.concatenate(used)).to(device),
    )


@dataclass
class _Sampler:
    """Runs from noise to frames, each time with the next numbers of each row's generator."""

    session: DecodeSession
    twin: DecodeSession | None
    slot: SlotPlan
    stage: _Stage
    options: _Sampling
    numbers: Sequence[torch.Generator]

    def __call__(self) -> Tensor:
        """Clean frames float32 [M, max_dim]."""
        stage, scheduler = self.stage, build_scheduler(self.options.scheduler, self.options.steps)
        extra = {}
        if "generator" in inspect.signature(scheduler.step).parameters:
            extra["generator"] = self._of_each_frame()
        noise = normal_rows(self.numbers, stage.lengths, stage.given.shape[1])
        frames = stage.imposed(to_device(noise, stage.given.device) * scheduler.init_noise_sigma)
        for step in scheduler.timesteps:
            clean = stage.imposed(self._clean(frames, int(step) + 1))
            frames = stage.imposed(scheduler.step(clean, step, frames, **extra).prev_sample)
        return frames

    def _of_each_frame(self) -> list[torch.Generator]:
        """The generator of its row for each frame, as `diffusers` takes them for the items of a batch."""
        pairs = zip(self.numbers, self.stage.lengths, strict=True)
        return [own for own, length in pairs for _ in range(length)]

    def _clean(self, frames: Tensor, level: int) -> Tensor:
        """Prediction of the clean frames, led away from the unconditional one (Ho & Salimans 2022)."""
        conditional = self._predict(self.session, frames, level)
        if self.twin is None:
            return conditional
        free = self._predict(self.twin, frames, level)
        return led_away(conditional, free, self.options.guidance)

    def _predict(self, session: DecodeSession, frames: Tensor, level: int) -> Tensor:
        hidden = session.denoise(
            self.stage.features(frames, level), self.slot.adapter, self.stage.shapes
        )
        return session.predict(
            self.slot.head or _HEAD, hidden, HeadContext(self.stage.lengths)
        ).float()
