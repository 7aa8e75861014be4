"""Whisper: its encoder hears sounds alone, its decoder reads exactly one half minute.

The convolutions are the adapter `whisper`; layers and tokens are the backbone. Text of the source is not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ofa_backbone_transformers.encoder_decoder import EncoderDecoder, Reads
from ofa_backbone_transformers.folder import BackboneError, architecture, folder_of
from ofa_backbone_transformers.loading import Parts
from ofa_backbone_transformers.rows import Lengths
from ofacore.plugin import UserError
from ofacore.protocols import Layout, RowError

if TYPE_CHECKING:
    from ofacore.protocols import BuildContext, Options

ADAPTER = "whisper"
_RATE, _SECONDS = 16_000, 30
_TEXT = "token"
_WEIGHTS = ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "embed_positions.weight")


class WhisperSound(nn.Module):
    """``whisper``: sounds as Whisper's convolutions see them, each filled up with silence to half a minute.

    Options:
        path: Folder of the model; the backbone sets it.
        config: What a checkpoint keeps in its place.
    """

    axes: ClassVar[int] = 1

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        config = architecture(context.options)
        width, self.bands = config.d_model, config.num_mel_bins
        if width != context.hidden:
            raise BackboneError(f"adapter 'whisper' is {width} wide, the model {context.hidden}")
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
        return {"path": "", "config": {name: getattr(config, name) for name in kept}}

    @staticmethod
    def length(shape: tuple[int, ...], options: Options) -> int:
        """Positions of half a minute, however long the sound is.

        Raises:
            RowError: It is longer.
        """
        if shape[0] > _RATE * _SECONDS:
            raise RowError(
                f"a sound of {shape[0] / _RATE:.0f} s; Whisper hears {_SECONDS} s at once: cut it"
            )
        return int(architecture(options).max_source_positions)

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
        states = nn.functional.gelu(self.conv1(self._log_mel(clips)))
        states = nn.functional.gelu(self.conv2(states)).transpose(1, 2)
        return (states + self.embed_positions.weight).flatten(0, 1)

    def _log_mel(self, clips: Sequence[Tensor]) -> Tensor:
        """[sounds, bands, frames], by the extractor of `transformers`."""
        from transformers import WhisperFeatureExtractor

        extract = WhisperFeatureExtractor(feature_size=self.bands)
        numbers = [clip.detach().float().cpu().numpy() for clip in clips]
        found = extract(numbers, sampling_rate=_RATE, return_tensors="pt").input_features
        weight = self.conv1.weight
        return found.to(weight.device, weight.dtype)  # type: ignore[no-any-return]


class WhisperLayers(EncoderDecoder):
    """Whisper's layers over streams: of a source the sounds, each by itself."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self.each = int(parts.config.max_source_positions)
        encoder: Any = self.encoder
        encoder.conv1 = encoder.conv2 = encoder.embed_positions = nn.Identity()

    def encode(self, states: Tensor, layout: Layout) -> Tensor:
        """Hidden states [N, H] of sounds; zeros elsewhere."""
        heard = _heard(layout)
        hidden = states[heard].unflatten(0, (-1, self.each)) if bool(heard.any()) else None
        if hidden is None:
            return states * 0
        self.owners.note(layout, heard.nonzero()[:: self.each, 0])
        encoder: Any = self.encoder
        for layer in encoder.layers:
            hidden = layer(hidden, None)
        hidden = encoder.layer_norm(hidden).flatten(0, 1)
        return torch.zeros_like(states).index_copy(0, heard.nonzero()[:, 0], hidden)

    def reads(
        self, memory: Tensor | None, source: Layout | None, which: Tensor | None, like: Tensor
    ) -> Reads:
        """Of a source the sounds alone.

        Raises:
            UserError: A source has several.
        """
        if memory is None or source is None:
            return Reads(None, None, which, like)
        heard = _heard(source)
        counts = torch.bincount(source.sequence[heard], minlength=source.sequences)
        host = tuple(counts.tolist())
        if any(count not in (0, self.each) for count in host):
            raise UserError("Whisper's decoder reads one sound for each answer, not several")
        if len(set(host)) > 1:
            raise UserError("Whisper cannot answer rows with a sound and rows without one together")
        return Reads(memory[heard], Lengths(counts.cumsum(0) - counts, counts, host), which, like)


def _heard(layout: Layout) -> Tensor:
    """bool [N]: positions of sounds.

    Raises:
        UserError: There are others that are no text.
    """
    others = [name for name in layout.adapters if name not in (ADAPTER, _TEXT)]
    if others:
        raise UserError(
            f"Whisper's encoder hears sounds, by the adapter 'whisper'; it has no place for '{others[0]}'"
        )
    sounds = torch.tensor(
        [name == ADAPTER for name in layout.adapters], device=layout.adapter.device
    )
    return sounds[layout.adapter]


def _weights(folder: Path) -> dict[str, Tensor]:
    """Weights of the convolutions and positions.

    Raises:
        BackboneError: The folder lacks one.
    """
    from safetensors import safe_open

    found: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(str(file), "pt") as tensors:
            for name in list(tensors.keys()):
                short = name.partition("encoder.")[2]
                if short in _WEIGHTS and not name.startswith("model.decoder"):
                    found[short] = tensors.get_tensor(name).float()
    lost = [name for name in _WEIGHTS if name not in found]
    if lost:
        raise BackboneError(f"the weights in '{folder}' lack encoder.{lost[0]}")
    return found
