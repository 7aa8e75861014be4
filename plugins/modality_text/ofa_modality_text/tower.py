"""Any text encoder of `transformers` as an adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ofa_modality_text.tower_config import TowerError, folder_of, stored_config, tower_config
from ofacore.parts import PretrainedError, pretrained

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from ofacore.protocols import BuildContext, Options

_UNUSED = ("pooler.",)
"""Parts of parameter names: what makes one vector of a text in another way."""


class TextTower(nn.Module):
    """``text_tower``: states of BERT, RoBERTa, MiniLM, T5's encoder and the like, projected to the model's width.

    Options:
        path: Folder as `save_pretrained` writes it, with ``config.json`` and weights. Never a name to download.
        frozen: The tower rests in evaluation mode; only the projection is learned.
        layer: Which hidden states; -1 the tower's output, -2 one layer before.
        pool: ``states`` of all tokens, their ``mean``, or the ``first`` one, which makes one position of a text.
        config: In place of ``path``, the configuration of a tower whose weights come from elsewhere.
    """

    axes: ClassVar[int] = 1

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        self.options = dict(context.options)
        config = tower_config(self.options)
        self.frozen = bool(self.options["frozen"])
        self.layer = int(self.options["layer"])
        loaded = bool(self.options["path"]) and not self.options["config"]
        model = _load(str(folder_of(self.options)), config) if loaded else _made(config)
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
        return {**options, "path": "", "config": stored_config(options)}

    @staticmethod
    def length(shape: tuple[int, ...], options: Options) -> int:
        """A position for each token, or one for the whole text."""
        return shape[0] if options.get("pool", "states") == "states" else 1

    @staticmethod
    def coordinates(shape: tuple[int, ...], options: Options) -> np.ndarray:
        """int64 [positions, 3]: (i, i, i)."""
        count = TextTower.length(shape, options)
        return np.repeat(np.arange(count)[:, None], 3, axis=1)

    def train(self, mode: bool = True) -> TextTower:
        """A frozen tower stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.tower.train(False)
        return self

    def embed(self, features: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        """States [sum of positions, H].

        Args:
            features: ``ids`` int64 [sum of tokens], of the tower's tokenizer.
            shapes: (tokens,) of each text.
        """
        counts = [shape[0] for shape in shapes]
        texts = features["ids"].split(counts)
        padding = int(getattr(self.tower.config, "pad_token_id", 0) or 0)
        ids = pad_sequence(list(texts), batch_first=True, padding_value=padding)
        place = torch.arange(ids.shape[1], device=ids.device)
        real = place < torch.tensor(counts, device=ids.device)[:, None]
        states = self._pooled(self._states(ids, real), real)
        return self.project(self.norm(states))  # type: ignore[no-any-return]

    def _states(self, ids: Tensor, real: Tensor) -> Tensor:
        """Hidden states [texts, tokens, width] of the chosen layer."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            output = self.tower(
                input_ids=ids,
                attention_mask=real.long(),
                output_hidden_states=self.layer != -1,
            )
        if self.layer == -1:
            return output.last_hidden_state  # type: ignore[no-any-return]
        layers = output.hidden_states
        if not -len(layers) <= self.layer < len(layers):
            most = len(layers) - 1
            raise TowerError(
                f"text_tower: layer={self.layer}, but a tower of {most} layers has {-len(layers)} to {most}"
            )
        return layers[self.layer]  # type: ignore[no-any-return]

    def _pooled(self, states: Tensor, real: Tensor) -> Tensor:
        """[texts, tokens, width] -> [positions, width] of all texts."""
        pool = self.options["pool"]
        if pool == "states":
            return states[real]
        if pool == "first":
            return states[:, 0]
        weights = real.to(states.dtype)[..., None]
        return (states * weights).sum(1) / weights.sum(1)


def _made(config: PretrainedConfig) -> PreTrainedModel:
    from transformers import AutoModel

    return AutoModel.from_config(config, dtype=torch.float32)  # type: ignore[no-any-return]


def _load(path: str, config: PretrainedConfig) -> PreTrainedModel:
    from transformers import AutoModel

    try:
        model, info = pretrained(AutoModel, path, config, use_safetensors=True)
    except PretrainedError as error:
        raise TowerError(f"text_tower: {error}") from error
    missing = [name for name in info["missing_keys"] if not _is_unused(name)]
    if missing:
        raise TowerError(f"text_tower: the weights in '{path}' lack {sorted(missing)[0]}")
    return model  # type: ignore[no-any-return]


def _is_unused(name: str) -> bool:
    return any(part in name for part in _UNUSED)
