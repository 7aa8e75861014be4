"""The adapter of Whisper: its convolutions over log-mel frames of sounds, filled up with silence."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ofa_backbone_transformers.folder import (
    BackboneError,
    architecture,
    folder_of,
    stored_weights,
)
from ofacore.protocols import RowError

if TYPE_CHECKING:
    from transformers import WhisperFeatureExtractor

    from ofacore.protocols import BuildContext, Options

ADAPTER = "whisper"
_RATE, _SECONDS, _STEP = 16_000, 30, 320
"""Samples a second, seconds that are heard at once, samples of a position."""
_WEIGHTS = ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "embed_positions.weight")


class WhisperSound(nn.Module):
    """``whisper``: sounds as Whisper's convolutions see them, each filled up with silence.

    Options:
        path: Folder of the model; the backbone sets it.
        config: What a checkpoint keeps in its place.
        pad_seconds: A sound is filled up to a multiple of so many seconds, at most 30.
    """

    axes: ClassVar[int] = 1

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        config = architecture(context.options)
        width, self.bands = config.d_model, config.num_mel_bins
        if width != context.hidden:
            raise BackboneError(f"adapter 'whisper' is {width} wide, the model {context.hidden}")
        self.options = dict(context.options)
        self.conv1 = nn.Conv1d(self.bands, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(config.max_source_positions, width)
        self.embed_positions.requires_grad_(False)
        if context.options.get("path"):
            self.load_state_dict(_weights(folder_of(context.options)))

    @staticmethod
    def stored_options(options: Options) -> dict[str, Any]:
        """Options to build it again from a checkpoint."""
        config = architecture(options)
        kept = ("model_type", "d_model", "num_mel_bins", "max_source_positions")
        own = {name: getattr(config, name) for name in kept}
        return {"path": "", "config": own, "pad_seconds": _padding(options)}

    @staticmethod
    def length(shape: tuple[int, ...], options: Options) -> int:
        """Positions of a sound with the silence that fills it up.

        Raises:
            RowError: It is longer than half a minute.
        """
        if shape[0] > _RATE * _SECONDS:
            raise RowError(
                f"a sound of {shape[0] / _RATE:.0f} s; Whisper hears {_SECONDS} s at once: cut it, or write "
                f"max_seconds={_SECONDS} in its slot"
            )
        return _seconds(shape[0], options) * _RATE // _STEP

    @staticmethod
    def coordinates(shape: tuple[int, ...], options: Options) -> np.ndarray:
        """int64 [positions, 3]: (i, i, i)."""
        count = WhisperSound.length(shape, options)
        return np.repeat(np.arange(count)[:, None], 3, axis=1)

    def embed(self, features: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        """States [sum of positions, H].

        Args:
            features: ``samples`` float [sum of samples] at 16,000 Hz.
            shapes: (samples,) of each sound.
        """
        clips = features["samples"].split([shape[0] for shape in shapes])
        alike: dict[int, list[int]] = defaultdict(list)
        for number, clip in enumerate(clips):
            alike[_seconds(len(clip), self.options)].append(number)
        found: dict[int, Tensor] = {}
        for seconds, numbers in alike.items():
            states = self._states(self._log_mel([clips[n] for n in numbers], seconds))
            found |= dict(zip(numbers, states, strict=True))
        return torch.cat([found[number] for number in range(len(clips))])

    def _states(self, log_mel: Tensor) -> Tensor:
        """[sounds, bands, frames] -> [sounds, positions, H]."""
        states = nn.functional.gelu(self.conv1(log_mel))
        states = nn.functional.gelu(self.conv2(states)).transpose(1, 2)
        return states + self.embed_positions.weight[: states.shape[1]]  # type: ignore[no-any-return]

    def _log_mel(self, clips: Sequence[Tensor], seconds: int) -> Tensor:
        """[sounds, bands, frames], by the extractor of `transformers`."""
        extract = _extractor(self.bands, seconds)
        numbers = [clip.detach().float().cpu().numpy() for clip in clips]
        found = extract(numbers, sampling_rate=_RATE, return_tensors="pt").input_features
        weight = self.conv1.weight
        return found.to(weight.device, weight.dtype)  # type: ignore[no-any-return]


def _padding(options: Options) -> int:
    """The option ``pad_seconds``; checkpoints of before have none."""
    return int(options.get("pad_seconds", _SECONDS))


def _seconds(samples: int, options: Options) -> int:
    """How long a sound is with the silence that fills it up."""
    step = _padding(options)
    wanted = max(1, math.ceil(samples / (_RATE * step))) * step
    return min(wanted, _SECONDS)


@lru_cache(maxsize=32)
def _extractor(bands: int, seconds: int) -> WhisperFeatureExtractor:
    """What makes log-mel frames of so many seconds."""
    from transformers import WhisperFeatureExtractor

    return WhisperFeatureExtractor(feature_size=bands, chunk_length=seconds)


def _short(name: str) -> str:
    """Name of a weight within the encoder; empty: it is the decoder's."""
    return "" if name.startswith("model.decoder") else name.partition("encoder.")[2]


def _weights(folder: Path) -> dict[str, Tensor]:
    """Weights of the convolutions and positions.

    Raises:
        BackboneError: The folder lacks one, or a file is damaged.
    """
    found = {
        _short(name): values.float()
        for name, values in stored_weights(folder, lambda name: _short(name) in _WEIGHTS)
    }
    lost = [name for name in _WEIGHTS if name not in found]
    if lost:
        raise BackboneError(f"the weights in '{folder}' lack encoder.{lost[0]}")
    return found
