"""Backbones written with public imports alone: nothing here knows the core's inner side."""

from __future__ import annotations

import torch
from torch import nn

from ofacore.parts import pad_sequences, read_sequences, seen_positions


class Recurrent(nn.Module):
    """Two GRUs; the decoder starts from the mean of what it reads."""

    def __init__(self, config, context):
        super().__init__()
        width, layers = config.hidden, context.options["layers"]
        self.encoder = nn.GRU(width, width, layers, batch_first=True)
        self.decoder = nn.GRU(2 * width, width, layers, batch_first=True)
        self.out = nn.Linear(width, width)

    def encode(self, states, layout):
        padded = pad_sequences(layout)
        return self.out(padded.stream(self.encoder(padded.rows(states))[0]))

    def decode(self, states, layout, memory, source):
        padded = pad_sequences(layout)
        read, real = read_sequences(layout, memory, source, states.shape[1])
        mean = (read * real[..., None]).sum(1) / real.sum(1, keepdim=True)
        rows = padded.rows(states)
        beside = mean[:, None].expand(-1, rows.shape[1], -1)
        return self.out(padded.stream(self.decoder(torch.cat([rows, beside], -1))[0]))


class Plain(nn.Module):
    """Layers of torch; places are told apart by a table."""

    restarts = False

    def __init__(self, config, context):
        super().__init__()
        width, heads, ffn = config.hidden, config.heads, config.ffn
        self.most = config.max_positions
        self.heads = heads
        self.places = nn.Embedding(config.max_positions, width)
        given = {"dropout": config.dropout, "batch_first": True, "norm_first": config.norm == "pre"}
        encoder = [
            nn.TransformerEncoderLayer(width, heads, ffn, **given)
            for _ in range(config.encoder_layers)
        ]
        decoder = [
            nn.TransformerDecoderLayer(width, heads, ffn, **given)
            for _ in range(config.decoder_layers)
        ]
        self.encoder, self.decoder = nn.ModuleList(encoder), nn.ModuleList(decoder)

    def encode(self, states, layout):
        padded, x = self._rows(states, layout)
        hidden = self._hidden(seen_positions(layout, padded, target=False))
        for layer in self.encoder:
            x = layer(x, src_mask=hidden)
        return padded.stream(x)

    def decode(self, states, layout, memory, source):
        padded, x = self._rows(states, layout)
        hidden = self._hidden(seen_positions(layout, padded, target=True))
        read, real = read_sequences(layout, memory, source, states.shape[1])
        for layer in self.decoder:
            x = layer(x, read, tgt_mask=hidden, memory_key_padding_mask=~real)
        return padded.stream(x)

    def _rows(self, states, layout):
        padded = pad_sequences(layout)
        return padded, padded.rows(states + self.places(layout.coordinates[:, 0]))

    def _hidden(self, seen):
        return ~seen.repeat_interleave(self.heads, 0)


class Narrow(Recurrent):
    """It has a width of its own."""

    @staticmethod
    def hidden_size(config):
        return config.hidden // 2

    def __init__(self, config, context):
        self.told = config.hidden
        super().__init__(config, context)


class Halved(nn.Module):
    """It forgot to write ``decode``."""

    def __init__(self, config, context):
        super().__init__()
        self.line = nn.Linear(config.hidden, config.hidden)

    def encode(self, states, layout):
        return self.line(states)


class Short(Recurrent):
    """It gives one state for each sequence."""

    def encode(self, states, layout):
        padded = pad_sequences(layout)
        return padded.last(padded.rows(states))
