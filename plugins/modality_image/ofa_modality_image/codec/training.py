"""A codec trained on pictures: seconds to minutes on small ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ofa_modality_image.codec.codec_error import CodecError
from ofa_modality_image.codec.network import CodecShape, ConvCodec

_RATE = 3e-3
_WARMUP = 20
_HALF = 127.5

Progress = Callable[[int, float], None]
"""(steps done, mean absolute error of pixels in -1 to 1)."""


@dataclass(frozen=True)
class CodecTraining:
    """How long, and on how much at a time."""

    steps: int = 600
    batch: int = 16
    seed: int = 0


def to_tensor(pixels: np.ndarray) -> Tensor:
    """float32 [B, 3, Y, X] in -1 to 1 of uint8 [B, Y, X, 3]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / _HALF - 1


def to_uint8(pixels: Tensor) -> np.ndarray:
    """uint8 [B, Y, X, 3] of [B, 3, Y, X] in -1 to 1; what is beyond is cut."""
    whole = ((pixels.float() + 1) * _HALF).round().clamp(0, 255).to(torch.uint8)
    found: np.ndarray = whole.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return found


@torch.enable_grad()
def train_codec(
    pixels: np.ndarray,
    shape: CodecShape,
    training: CodecTraining,
    progress: Progress | None = None,
) -> ConvCodec:
    """A codec of uint8 pictures [N, Y, X, 3], by the absolute error of pixels; a codebook adds its commitment.

    The same pictures and seed give the same codec on the same machine.

    Raises:
        CodecError: There is no picture, or cells do not fill them.
    """
    if not len(pixels):
        raise CodecError("there is no picture to train a codec on")
    height, width = pixels.shape[1:3]
    if height % shape.factor or width % shape.factor:
        raise CodecError(
            f"pictures of {width} x {height} pixels are no multiple of the codec's factor={shape.factor}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        codec = ConvCodec(shape)
    draw = torch.Generator().manual_seed(training.seed)
    optimizer = torch.optim.AdamW(codec.parameters(), lr=_RATE, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _rate(step, training.steps)
    )
    for step in range(training.steps):
        chosen = torch.randint(len(pixels), (training.batch,), generator=draw)
        clean = to_tensor(pixels[chosen.numpy()])
        found = codec(clean)
        error = functional.l1_loss(found.pixels, clean)
        loss = error + codec.quantise.commitment(found.latents, found.values)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        codec.quantise.learn(found.latents.detach(), draw)
        if progress is not None:
            progress(step + 1, float(error.detach()))
    return codec.eval()


def _rate(step: int, steps: int) -> float:
    """Share of the learning rate: up, then down to a twentieth along a cosine."""
    warm = min(1.0, (step + 1) / _WARMUP)
    return warm * (0.05 + 0.95 * 0.5 * (1 + float(np.cos(np.pi * step / max(1, steps)))))
