"""Whisper: its encoder hears sounds alone, each by itself, and its decoder reads one of them.

The convolutions are the adapter `whisper`; layers and tokens are the backbone. Text of the source is not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ofa_backbone_transformers.encoder_decoder import EncoderDecoder, Reads
from ofa_backbone_transformers.loading import Parts
from ofa_backbone_transformers.rows import Lengths, as_stream, like_lengths
from ofa_backbone_transformers.whisper_sound import ADAPTER
from ofacore.plugin import UserError
from ofacore.protocols import Layout

_TEXT = "token"
_SEEN = "seen_of_source"


class WhisperLayers(EncoderDecoder):
    """Whisper's layers over streams: of a source the sounds, each by itself."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        encoder: Any = self.encoder
        decoder: Any = self.decoder
        encoder.conv1 = encoder.conv2 = encoder.embed_positions = nn.Identity()
        for layer in decoder.layers:
            layer.register_forward_pre_hook(_see_real, with_kwargs=True)

    def encode(self, states: Tensor, layout: Layout) -> Tensor:
        """Hidden states [N, H] of sounds; zeros elsewhere."""
        heard = _heard(layout)
        if not bool(heard.any()):
            return states * 0
        lengths = _lengths(torch.unique_consecutive(layout.segment[heard], return_counts=True)[1])
        chosen = like_lengths(lengths.host, range(len(lengths.host)), self.waste(states))
        groups = [lengths.group(numbers) for numbers in chosen]
        sounds, places = states[heard], heard.nonzero()[:, 0]
        parts = []
        for group in groups:
            self.owners.note(layout, places[group.index[:, 0]])
            rows = group.rows(sounds)
            real = None if group.full else group.real
            parts.append(self._encoded_rows(rows, real))
        hidden = as_stream(groups, parts, sounds)
        return torch.zeros_like(states).index_copy(0, places, hidden)

    def _encoded_rows(self, rows: Tensor, real: Tensor | None) -> Tensor:
        encoder: Any = self.encoder
        mask = None if real is None else _hidden_places(real, rows.dtype)
        for layer in encoder.layers:
            rows = layer(rows, mask)
        return encoder.layer_norm(rows)  # type: ignore[no-any-return]

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
        sequence = source.sequence[heard]
        sounds = torch.stack([sequence, source.segment[heard]]).unique_consecutive(dim=1)[0]
        if bool((sounds[1:] == sounds[:-1]).any()):
            raise UserError("Whisper's decoder reads one sound for each answer, not several")
        lengths = _lengths(torch.bincount(sequence, minlength=source.sequences))
        return Reads(memory[heard], lengths, which, like)

    def seen(self, real: Tensor | None, like: Tensor) -> Mapping[str, Tensor]:
        """See `EncoderDecoder.seen`; the decoder of transformers passes it on to its layers."""
        return {} if real is None else {_SEEN: _hidden_places(real.bool(), like.dtype)}


def _see_real(layer: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Before a layer of the decoder: the mask of what it reads, which its stack knows nothing of."""
    seen = named.pop(_SEEN, None)
    return given, named if seen is None else {**named, "encoder_attention_mask": seen}


def _hidden_places(real: Tensor, dtype: torch.dtype) -> Tensor:
    """bool [s, K], where there is something -> [s, 1, 1, K] to add to the scores of attention."""
    scores = torch.zeros(real.shape, dtype=dtype, device=real.device)
    return scores.masked_fill(~real, torch.finfo(dtype).min)[:, None, None]


def _lengths(counts: Tensor) -> Lengths:
    """Of runs that follow each other, int64 [S]."""
    return Lengths(counts.cumsum(0) - counts, counts, tuple(counts.tolist()))


def _heard(layout: Layout) -> Tensor:
    """bool [N]: positions of sounds.

    Raises:
        UserError: There are others that are no text.
    """
    others = [name for name in layout.adapters if name not in (ADAPTER, _TEXT)]
    if others:
        raise UserError(
            f"Whisper's encoder hears sounds alone, and has no place for the adapter '{others[0]}'; a sound is written "
            "as [AUDIO:wav,preprocess=audio_wave,adapter=whisper]"
        )
    sounds = torch.tensor(
        [name == ADAPTER for name in layout.adapters], device=layout.adapter.device
    )
    return sounds[layout.adapter]
