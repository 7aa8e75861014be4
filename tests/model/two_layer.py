"""A backbone from torch's own layers: one encoder layer, one decoder layer, sequences padded."""

from typing import Any

import torch
from torch import Tensor, nn

from ofacore.config.model_section import ModelConfig
from ofacore.protocols import Layout


class TwoLayers(nn.Module):
    """Text order is the only position; every target position sees earlier ones."""

    def __init__(self, config: ModelConfig, context: Any) -> None:
        super().__init__()
        width, heads = config.hidden, config.heads
        self.order = nn.Embedding(config.max_positions, width)
        self.encoder = nn.TransformerEncoderLayer(width, heads, config.ffn, 0.0, batch_first=True)
        self.decoder = nn.TransformerDecoderLayer(width, heads, config.ffn, 0.0, batch_first=True)

    def _padded(self, x: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        x = x + self.order(layout.coordinates[:, 0])
        parts = x.split(torch.bincount(layout.sequence, minlength=layout.sequences).tolist())
        padded = nn.utils.rnn.pad_sequence(list(parts), batch_first=True)
        lengths = torch.tensor([len(part) for part in parts])
        return padded, torch.arange(padded.shape[1]) >= lengths[:, None]

    def encode(self, states: Tensor, layout: Layout) -> Tensor:
        x, empty = self._padded(states, layout)
        return self.encoder(x, src_key_padding_mask=empty)[~empty]

    def decode(self, states: Tensor, layout: Layout, memory: Tensor, source: Layout) -> Tensor:
        x, empty = self._padded(states, layout)
        read, nothing = self._padded(memory, source)
        later = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
        mask = {"tgt_key_padding_mask": empty, "memory_key_padding_mask": nothing[layout.memory]}
        return self.decoder(x, read[layout.memory], tgt_mask=later, **mask)[~empty]
