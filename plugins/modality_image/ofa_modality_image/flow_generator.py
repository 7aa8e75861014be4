"""Pictures out of noise by flow, against a decode session alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ofa_modality_image.canvas import Canvas
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
    """``image_flow``: from noise to patches in ``steps`` equal steps (Euler).

    Options: ``steps``, ``guidance``, ``n_best``. Patches that the row gives stay as they are.
    """

    def __init__(self, options: Options) -> None:
        self._steps = int(options["steps"])
        self._guidance = float(options["guidance"])
        self._number = int(options["n_best"])

    @property
    def guided(self) -> bool:
        """Whether the answer without the prompt is needed too."""
        return self._guidance != 1.0

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
        canvases = [request.ctx.published.one(slot.name, Canvas) for request in requests]
        stage = _Stage.of(canvases, session.device)
        twin = unconditional_twin(session, self._guidance)
        numbers, seen = row_generators(requests), _Seen(session, twin, slot, stage)
        samples = [self._sample(seen, numbers) for _ in range(self._number)]
        if not all(request.final for request in requests):
            session.commit(stage.features(samples[0], 1.0), slot.adapter, stage.shapes)
        pieces = [sample.cpu().split(list(stage.lengths)) for sample in samples]
        return [_candidates(row) for row in zip(*pieces, strict=True)]

    def _sample(self, seen: _Seen, numbers: Sequence[torch.Generator]) -> Tensor:
        """Clean patches float32 [N, W], each row's with the next numbers of its generator."""
        given = seen.stage.given
        noise = normal_rows(numbers, seen.stage.lengths, given.shape[1])
        patches = seen.stage.imposed(to_device(noise, given.device))
        for step in range(self._steps):
            level = step / self._steps
            clean = self._clean(seen, patches, level)
            velocity = (clean - patches) / (1 - level)
            patches = seen.stage.imposed(patches + velocity / self._steps)
        return patches

    def _clean(self, seen: _Seen, patches: Tensor, level: float) -> Tensor:
        conditional = seen.predict(seen.session, patches, level)
        if seen.twin is None:
            return conditional
        return led_away(conditional, seen.predict(seen.twin, patches, level), self._guidance)


def _candidates(pieces: Sequence[Tensor]) -> Produced:
    return tuple(Hypothesis(piece.numpy()) for piece in pieces)


@dataclass(frozen=True)
class _Stage:
    """All rows' canvases as tensors over N = sum of patches."""

    shapes: Sequence[tuple[int, ...]]
    given: Tensor
    """[N, W]."""
    known: Tensor
    """bool [N, 1]."""

    @classmethod
    def of(cls, canvases: Sequence[Canvas], device: torch.device) -> _Stage:
        given = torch.from_numpy(np.concatenate([canvas.given for canvas in canvases]))
        known = torch.from_numpy(np.concatenate([canvas.known for canvas in canvases]))
        shapes = [canvas.shape for canvas in canvases]
        return cls(shapes, given.to(device), known[:, None].to(device))

    @property
    def lengths(self) -> tuple[int, ...]:
        return tuple(rows * columns for rows, columns in self.shapes)

    def imposed(self, patches: Tensor) -> Tensor:
        """Patches with given ones in their places."""
        return torch.where(self.known, self.given, patches)

    def features(self, patches: Tensor, level: float) -> Mapping[str, Tensor]:
        """Input of the adapter: given patches are clean whatever the level."""
        levels = torch.full((len(patches),), level, device=patches.device)
        return {"patches": patches, "level": torch.where(self.known[:, 0], 1.0, levels)}


@dataclass(frozen=True)
class _Seen:
    """What a sample is made against."""

    session: DecodeSession
    twin: DecodeSession | None
    slot: SlotPlan
    stage: _Stage

    def predict(self, session: DecodeSession, patches: Tensor, level: float) -> Tensor:
        """Clean patches [N, W]."""
        features = self.stage.features(patches, level)
        hidden = session.denoise(features, self.slot.adapter, self.stage.shapes)
        return session.predict(self.slot.head, hidden, HeadContext(self.stage.lengths)).float()  # type: ignore[no-any-return]
