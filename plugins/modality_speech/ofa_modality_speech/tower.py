"""Any speech encoder of `transformers` as an adapter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ofa_modality_speech.tower_config import (
    RATE,
    WHISPER_WINDOW,
    TowerError,
    fewest_samples,
    is_whisper,
    normalises,
    padded_seconds,
    stored_config,
    tower_config,
    tower_positions,
)
from ofacore.parts import PretrainedError, pretrained

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, WhisperFeatureExtractor

    from ofacore.protocols import BuildContext, Options

_SMALLEST = 1e-7
_UNUSED = ("masked_spec_embed",)


class AudioTower(nn.Module):
    """``audio_tower``: states of wav2vec 2, HuBERT, WavLM, Whisper and the like, projected to the model's width.

    Options:
        path: Folder as `save_pretrained` writes it, with ``config.json`` and weights. Never a name to download.
        frozen: The tower rests in evaluation mode; only the projection is learned.
        layer: Which hidden states; -1 the tower's output, -2 one layer before.
        normalize: Samples have mean 0 and deviation 1; the folder's ``preprocessor_config.json`` or
            ``processor_config.json`` goes before.
        pad_seconds: Of Whisper: a sound is filled up with silence to a multiple of so many seconds, at most 30.
        config: In place of ``path``, the configuration of a tower whose weights come from elsewhere.
    """

    axes: ClassVar[int] = 1

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        self.options = dict(context.options)
        config = tower_config(self.options)
        self.frozen = bool(self.options["frozen"])
        self.normalises = normalises(self.options)
        model = _load(str(self.options["path"]), config) if self.options["path"] else _made(config)
        self.tower = model.get_encoder() if config.is_encoder_decoder else model
        self.tower.requires_grad_(not self.frozen)
        for name, parameter in self.tower.named_parameters():
            if any(part in name for part in _UNUSED):
                parameter.requires_grad_(False)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.project = nn.Linear(config.hidden_size, context.hidden)
        self.train(self.training)

    @staticmethod
    def stored_options(options: Options) -> dict[str, Any]:
        """Options to build it again from a checkpoint, without the folder that it came from."""
        own = {"path": "", "config": stored_config(options), "normalize": normalises(options)}
        return {**options, **own}

    @staticmethod
    def length(shape: tuple[int, ...], options: Options) -> int:
        """What the tower's convolutions leave of the samples; of Whisper one for each 320."""
        return tower_positions(shape[0], tower_config(options))

    @staticmethod
    def coordinates(shape: tuple[int, ...], options: Options) -> np.ndarray:
        """int64 [positions, 3]: (i, i, i)."""
        count = tower_positions(shape[0], tower_config(options))
        return np.repeat(np.arange(count)[:, None], 3, axis=1)

    def train(self, mode: bool = True) -> AudioTower:
        """A frozen tower stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.tower.train(False)
        return self

    def embed(self, features: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        """States [sum of positions, H].

        Args:
            features: ``samples`` float [sum of samples] at 16,000 Hz.
            shapes: (samples,) of each sound.
        """
        dtype = self.project.weight.dtype
        clips = features["samples"].split([shape[0] for shape in shapes])
        if self.normalises:
            clips = tuple(_normalised(clip) for clip in clips)
        config = self.tower.config
        read = self._whisper if is_whisper(config) else self._waves
        states = read([clip.to(dtype) for clip in clips])
        kept = [
            own[: tower_positions(len(clip), config)]
            for own, clip in zip(states, clips, strict=True)
        ]
        return self.project(self.norm(torch.cat(kept)))  # type: ignore[no-any-return]

    def _waves(self, clips: Sequence[Tensor]) -> list[Tensor]:
        """[positions, width] of each; sounds of one length together, since padding would change what norms see."""
        fewest = fewest_samples(self.tower.config)
        padded = [pad(clip, (0, max(0, fewest - len(clip)))) for clip in clips]
        groups: dict[int, list[int]] = defaultdict(list)
        for number, clip in enumerate(padded):
            groups[len(clip)].append(number)
        found: dict[int, Tensor] = {}
        for numbers in groups.values():
            states = self._states(torch.stack([padded[number] for number in numbers]))
            found |= dict(zip(numbers, states, strict=True))
        return [found[number] for number in range(len(clips))]

    def _whisper(self, clips: Sequence[Tensor]) -> list[Tensor]:
        """[positions, width] of each, half a minute after the other."""
        windows = [window for clip in clips for window in clip.split(WHISPER_WINDOW)]
        alike: dict[int, list[int]] = defaultdict(list)
        for number, window in enumerate(windows):
            alike[padded_seconds(len(window), self.options)].append(number)
        heard: dict[int, Tensor] = {}
        for seconds, numbers in alike.items():
            log_mel = self._log_mel([windows[number] for number in numbers], seconds)
            whole = seconds * RATE == WHISPER_WINDOW
            states = self._states(log_mel) if whole else self._short_states(log_mel)
            heard |= dict(zip(numbers, states, strict=True))
        found, begin = [], 0
        for clip in clips:
            end = begin + len(clip.split(WHISPER_WINDOW))
            found.append(torch.cat([heard[number] for number in range(begin, end)]))
            begin = end
        return found

    def _log_mel(self, windows: Sequence[Tensor], seconds: int) -> Tensor:
        """[windows, bands, frames], by the extractor of `transformers`."""
        extract = _extractor(self.tower.config.num_mel_bins, seconds)
        numbers = [window.detach().float().cpu().numpy() for window in windows]
        found = extract(numbers, sampling_rate=RATE, return_tensors="pt").input_features
        return found.to(windows[0].device, windows[0].dtype)  # type: ignore[no-any-return]

    def _short_states(self, log_mel: Tensor) -> Tensor:
        """What `_states` gives, of less than half a minute: the tower itself takes no other length."""
        tower: Any = self.tower
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states = nn.functional.gelu(tower.conv1(log_mel))
            states = nn.functional.gelu(tower.conv2(states)).transpose(1, 2)
            states = states + tower.embed_positions.weight[: states.shape[1]]
            layers = [states]
            for layer in tower.layers:
                layers.append(layer(layers[-1], None))
            layers[-1] = tower.layer_norm(layers[-1])
        return self._chosen(layers)

    def _states(self, values: Tensor) -> Tensor:
        """Hidden states [clips, positions, width] of the chosen layer."""
        layer = int(self.options["layer"])
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            output = self.tower(values, output_hidden_states=layer != -1)
        if layer == -1:
            return output.last_hidden_state  # type: ignore[no-any-return]
        return self._chosen(output.hidden_states)

    def _chosen(self, layers: Sequence[Tensor]) -> Tensor:
        """Of the states before, between and behind the layers those that the options name."""
        layer = int(self.options["layer"])
        if not -len(layers) <= layer < len(layers):
            raise TowerError(
                f"audio_tower: layer={layer}, but a tower of {len(layers) - 1} layers has {-len(layers)} to "
                f"{len(layers) - 1}"
            )
        return layers[layer]


@lru_cache(maxsize=32)
def _extractor(bands: int, seconds: int) -> WhisperFeatureExtractor:
    """What makes log-mel frames of so many seconds."""
    from transformers import WhisperFeatureExtractor

    return WhisperFeatureExtractor(feature_size=bands, chunk_length=seconds)


def _normalised(clip: Tensor) -> Tensor:
    """Mean 0 and variance 1, as `Wav2Vec2FeatureExtractor` makes it."""
    wide = clip.float()
    return (wide - wide.mean()) / (wide.var(correction=0) + _SMALLEST).sqrt()


def _made(config: PretrainedConfig) -> PreTrainedModel:
    from transformers import AutoModel

    return AutoModel.from_config(config, dtype=torch.float32)  # type: ignore[no-any-return]


def _load(path: str, config: PretrainedConfig) -> PreTrainedModel:
    from transformers import AutoModel

    try:
        model, info = pretrained(AutoModel, path, config)
    except PretrainedError as error:
        raise TowerError(f"audio_tower: {error}") from error
    missing = [name for name in info["missing_keys"] if not name.endswith(_UNUSED)]
    if missing:
        raise TowerError(f"audio_tower: the weights in '{path}' lack {sorted(missing)[0]}")
    return model  # type: ignore[no-any-return]
