"""Backbones, each with one fault."""

from __future__ import annotations

import torch
from torch import nn

from ofacore.parts import UncachedDecoder, pad_sequences, read_sequences, seen_positions


class Mixing(nn.Module):
    """Every position takes the mean of what it sees; without fault."""

    memory_of, places = staticmethod(read_sequences), True

    def __init__(self, config, context):
        super().__init__()
        self.source, self.own = (
            nn.Linear(config.hidden, config.hidden),
            nn.Linear(config.hidden, config.hidden),
        )
        self.read = nn.Linear(config.hidden, config.hidden)

    def encode(self, states, layout):
        return self.mixed(self.source, states, layout, False)

    def decode(self, states, layout, memory, source):
        padded = pad_sequences(layout)
        read, real = self.memory_of(layout, memory, source, states.shape[1])
        mean = (self.read(read).tanh() * real[..., None]).sum(1) / real.sum(1, keepdim=True)
        rows = padded.rows(self.mixed(self.own, states, layout, True))
        return padded.stream(rows + mean[:, None])

    def mixed(self, line, states, layout, target):
        padded = pad_sequences(layout)
        place = layout.coordinates[:, :1] if self.places else 0
        rows = padded.rows(line(states).tanh() * (1 + place))
        seen = self.seen(layout, padded, target).float()
        return states + padded.stream(seen @ rows / seen.sum(-1, keepdim=True))

    def seen(self, layout, padded, target):
        return seen_positions(layout, padded, target=target)


class Leaks(Mixing):
    def encode(self, states, layout):
        return super().encode(states, layout) + states.mean(0)


class Peeks(Mixing):
    def seen(self, layout, padded, target):
        both = padded.real[:, :, None] & padded.real[:, None, :]
        return both | torch.diag_embed(~padded.real)


class Summed(Mixing):
    def encode(self, states, layout):
        return super().encode(states, layout).sum(0, keepdim=True)


class Empty(Mixing):
    def decode(self, states, layout, memory, source):
        return super().decode(states, layout, memory, source) / (0.0 if memory is None else 1.0)


class Blind(Mixing):
    @staticmethod
    def memory_of(layout, memory, source, width):
        return read_sequences(layout, None, None, width)


class Confused(Mixing):
    @staticmethod
    def memory_of(layout, memory, source, width):
        read, real = read_sequences(layout, memory, source, width)
        return read + read.flip(0), real | real.flip(0)


class Unordered(Mixing):
    places = False


class Traces(Mixing):
    def seen(self, layout, padded, target):
        seen = super().seen(layout, padded, target)
        number = torch.arange(seen.shape[1])
        both = padded.real[:, :, None] & padded.real[:, None, :]
        return seen | (both & (number <= number[:, None])) if target else seen


class Idle(Mixing):
    def __init__(self, config, context):
        super().__init__(config, context)
        self.spare = nn.Linear(config.hidden, config.hidden)


class Draws(Mixing):
    def __init__(self, config, context):
        super().__init__(config, context)
        self.offset = torch.randn(config.hidden)

    def encode(self, states, layout):
        return super().encode(states, layout) + self.offset


class Counts(Mixing):
    passes = 0

    def encode(self, states, layout):
        self.passes += 1
        return super().encode(states, layout) + self.passes


class Forgets(Mixing):
    """Its fork is no copy."""

    def start_cache(self, rows, memory=None, source=None, *, tasks=()):
        cache = UncachedDecoder(self).start_cache(rows, memory, source, tasks=tasks)
        cache.fork = lambda: cache
        return cache

    def extend(self, states, coordinates, cache, valid=None, adapter="", causal=True, keep=True):
        return UncachedDecoder(self).extend(
            states, coordinates, cache, valid, adapter, causal, keep
        )


class Lags(Forgets):
    """Its cache loses the last position of what came before."""

    def extend(self, states, coordinates, cache, valid=None, adapter="", causal=True, keep=True):
        cache.lengths = (cache.lengths - 1).clamp(min=0)
        return super().extend(states, coordinates, cache, valid, adapter, causal, keep)


class Halved(nn.Module):
    def __init__(self, config, context):
        super().__init__()

    def encode(self, states, layout):
        return states


class Attends(Mixing):
    """Its weights are of another shape."""

    attention: dict

    def decode(self, states, layout, memory, source):
        self.attention = {0: [torch.zeros(1, 1, 1, 1)]}
        return super().decode(states, layout, memory, source)

    def __init__(self, config, context):
        super().__init__(config, context)
        self.attention = {}
