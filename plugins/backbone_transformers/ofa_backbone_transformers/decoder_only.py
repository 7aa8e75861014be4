"""A decoder of transformers that reads the source as a prefix.

Keys and values of the source travel with the states that `encode` gives, so that a source is read once: a target goes
on behind them. Of a source only positions that no token stands at see later ones, those of their own segment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ofa_backbone_transformers.key_values import KeyValues, chosen_rows, new_cache
from ofa_backbone_transformers.loading import Parts, cache_name
from ofa_backbone_transformers.row_owners import RowOwners
from ofa_backbone_transformers.rows import (
    Group,
    Lengths,
    as_scores,
    as_stream,
    lengths_of,
    like_lengths,
    runs_forward,
    seen_in,
    waste_of,
)
from ofacore.protocols import Layout

TOKENS = "token"
"""The core's adapter of tokens."""


@dataclass
class Prefix:
    """A source that was read."""

    states: Tensor
    """[N, H]: what it was read from."""
    layout: Layout
    lengths: Lengths
    groups: list[Group] = field(default_factory=list)
    caches: list[Any] = field(default_factory=list)
    """Keys and values of each group; empty where activations are computed again."""


class DecoderOnly(nn.Module):
    """One stack of layers for both sides.

    Args:
        parts: The model.
        joined: The first position of a target is the last one of its source.
    """

    def __init__(self, parts: Parts, joined: bool) -> None:
        super().__init__()
        self.decoder = parts.decoder
        self.scale_in, self.scale_out, self.joined = parts.scale_target, parts.scale_out, joined
        self.cache_name = cache_name(self.decoder)
        self.window, self.kinds = _window(parts.config)
        self.one_group = False
        self.recomputes = False
        self.owners = RowOwners()

    def waste(self, states: Tensor) -> int:
        """Empty places of a group of rows of states [N, H]; -1: there is one group."""
        return -1 if self.one_group or not torch.is_grad_enabled() else waste_of(states)

    def encode(self, states: Tensor, layout: Layout) -> Tensor:
        """See `ofacore.protocols.Backbone.encode`."""
        states = states * self.scale_in
        lengths = lengths_of(layout)
        prefix = Prefix(states, layout, lengths)
        dense = _dense(layout)
        parts = []
        for numbers in like_lengths(lengths.host, range(layout.sequences), self.waste(states)):
            group = lengths.group(numbers)
            mask = (
                self._mask(_seen_in_source(layout, group, dense), states.dtype) if dense else None
            )
            kept = None if self._again() else new_cache()
            self.owners.note(layout, group.index[:, 0])
            parts.append(self._run(group.rows(states), mask, kept))
            prefix.groups.append(group)
            prefix.caches += [] if kept is None else [kept]
        hidden = as_stream(prefix.groups, parts, states) * self.scale_out
        hidden.prefix = prefix  # type: ignore[attr-defined]
        return hidden

    def decode(
        self, states: Tensor, layout: Layout, memory: Tensor | None, source: Layout | None
    ) -> Tensor:
        """See `ofacore.protocols.Backbone.decode`."""
        states = states * self.scale_in
        prefix = prefix_of(memory)
        lengths, forward = lengths_of(layout), runs_forward(layout)
        if prefix is None or layout.memory is None:
            return self._alone(states, layout, lengths, forward) * self.scale_out
        first = self._first(layout, lengths)
        reads: list[int] = layout.memory.tolist()
        states = self._on_source(states, layout.memory, lengths, prefix, first)
        groups, parts = [], []
        for number, together in self._by_prefix(lengths, reads, prefix):
            for numbers in like_lengths(lengths.host, together, self.waste(states)):
                group = lengths.group(numbers)
                groups.append(group)
                parts.append(self._behind(states, layout, group, prefix, number, first))
        return as_stream(groups, parts, states) * self.scale_out

    def step(
        self, states: Tensor, cache: Any, counts: Tensor | None, behind: int, places: int
    ) -> Tensor:
        """Hidden states [R, n, H] of positions behind those of a cache of transformers, which takes them in.

        Args:
            states: [R, n, H], scaled.
            cache: Of R rows.
            counts: int64 [R]: how many of the source's ``places`` a row sees; None: there is no source.
            behind: Positions behind the source that the cache holds.
            places: Those of the source.
        """
        n = states.shape[1]
        if counts is None:
            return self._run(states, None, cache) * self.scale_out
        own = torch.ones(n, behind + n, dtype=torch.bool, device=states.device).tril(behind)
        seen = torch.arange(places, device=states.device) < counts[:, None]
        both = torch.cat([seen[:, None].expand(-1, n, -1), own.expand(len(states), -1, -1)], dim=-1)
        where = counts[:, None] + behind + torch.arange(n, device=states.device)
        keys = torch.cat(
            [
                torch.arange(places, device=states.device).expand(len(states), -1),
                counts[:, None] + torch.arange(behind + n, device=states.device),
            ],
            dim=1,
        )
        mask = self._mask(both, states.dtype, where, keys)
        return self._run(states, mask, cache, where) * self.scale_out

    def try_layers(self, rows: Tensor) -> None:
        """Run all layers over rows [s, L, H]."""
        self._run(rows, None, None)

    def last_states(self, prefix: Prefix, sequences: Tensor) -> Tensor:
        """[s, H]: the last state of some source sequences."""
        ends = prefix.lengths.starts[sequences] + prefix.lengths.counts[sequences] - 1
        return prefix.states[ends]

    def _alone(self, states: Tensor, layout: Layout, lengths: Lengths, forward: bool) -> Tensor:
        """Targets without a source."""
        groups, parts = [], []
        for numbers in like_lengths(lengths.host, range(layout.sequences), self.waste(states)):
            group = lengths.group(numbers)
            mask = None if forward else self._mask(seen_in(layout, group), states.dtype)
            groups.append(group)
            self.owners.note(layout, group.index[:, 0])
            parts.append(self._run(group.rows(states), mask, None))
        return as_stream(groups, parts, states)

    def _by_prefix(
        self, lengths: Lengths, reads: list[int], prefix: Prefix
    ) -> list[tuple[int, list[int]]]:
        """(group of the source, target sequences that read one of it); those without a source join some group."""
        place = {
            int(sequence): number
            for number, group in enumerate(prefix.groups)
            for sequence in group.sequences.tolist()
        }
        found: dict[int, list[int]] = {}
        for sequence, read in enumerate(reads):
            if lengths.host[sequence]:
                found.setdefault(place.get(read, len(prefix.groups) - 1), []).append(sequence)
        return list(found.items())

    def _behind(
        self,
        states: Tensor,
        layout: Layout,
        group: Group,
        prefix: Prefix,
        number: int,
        first: Tensor,
    ) -> Tensor:
        """Hidden states [s, L, H] of targets behind sources of one group."""
        assert layout.memory is not None
        self.owners.note(layout, group.index[:, 0])
        source, rows = prefix.groups[number], states.shape[-1]
        reads = layout.memory[group.sequences]
        row = _row_in(source, reads)
        seen_of_source = source.real[row] & (reads >= 0)[:, None]
        counts = seen_of_source.sum(1) - (first[group.sequences] & (reads >= 0)).long()
        places = torch.arange(source.index.shape[1], device=states.device)
        behind = places < counts[:, None]
        own = seen_in(layout, group)
        n = own.shape[1]
        where = counts[:, None] + torch.arange(n, device=states.device)
        keys = torch.cat([places.expand(len(reads), -1), where], dim=1)
        seen = torch.cat([behind[:, None].expand(-1, n, -1), own], dim=-1)
        if prefix.caches:
            cache = chosen_rows(prefix.caches[number], row)
            mask = self._mask(seen, states.dtype, where, keys)
            return self._run(group.rows(states), mask, cache, where)
        before = _seen_in_source(prefix.layout, source, _dense(prefix.layout))[row]
        nothing = before.new_zeros(len(reads), len(places), n)
        whole = torch.cat([torch.cat([before, nothing], dim=-1), seen], dim=1)
        mask = self._mask(whole, states.dtype, keys, keys)
        both = torch.cat([source.rows(prefix.states)[row], group.rows(states)], dim=1)
        assert both.shape[-1] == rows
        return self._run(both, mask, None, keys)[:, len(places) :]

    def _first(self, layout: Layout, lengths: Lengths) -> Tensor:
        """bool [S]: the first position of a target only says that it begins: the source's last may stand for it."""
        at = lengths.starts.clamp(max=max(0, layout.positions - 1))
        names = [name == TOKENS for name in layout.adapters]
        token = torch.tensor(names, device=at.device)[layout.adapter[at]]
        assert layout.memory is not None
        return token & layout.causal[at] & (lengths.counts > 0) & (layout.memory >= 0) & self.joined

    def _on_source(
        self, states: Tensor, reads: Tensor, lengths: Lengths, prefix: Prefix, first: Tensor
    ) -> Tensor:
        """The target's states, each first one replaced by the last of its source."""
        if not bool(first.any()):
            return states
        which = first.nonzero()[:, 0]
        last = self.last_states(prefix, reads[which])
        return states.index_copy(0, lengths.starts[which], last)

    def _again(self) -> bool:
        """Activations are computed again in the backward pass, so that nothing may be kept of a pass."""
        return self.recomputes and self.training and torch.is_grad_enabled()

    def _run(self, rows: Tensor, mask: Any, cache: Any, where: Tensor | None = None) -> Tensor:
        given: dict[str, Any] = {"inputs_embeds": rows, "attention_mask": mask}
        given |= {} if where is None else {"position_ids": where}
        given |= {"use_cache": cache is not None}
        given |= {} if cache is None else {self.cache_name: cache}
        return self.decoder(**given).last_hidden_state  # type: ignore[no-any-return]

    def _mask(
        self,
        seen: Tensor,
        dtype: torch.dtype,
        where: Tensor | None = None,
        keys: Tensor | None = None,
    ) -> Any:
        """What the layers take for bool [s, L, K]; where some of them see a window alone, one mask of each kind.

        ``where`` int64 [s, L] and ``keys`` int64 [s, K] are the places; default: their numbers.
        """
        if self.window is None:
            return as_scores(seen, dtype)
        rows, columns = (torch.arange(size, device=seen.device)[None] for size in seen.shape[1:])
        distance = (rows if where is None else where)[:, :, None]
        distance = distance - (columns if keys is None else keys)[:, None]
        near = as_scores(seen & (distance < self.window), dtype)
        if not self.kinds:
            return near
        return {
            kind: near if kind.startswith("sliding") else as_scores(seen, dtype)
            for kind in self.kinds
        }


def prefix_of(memory: Tensor | None) -> Prefix | None:
    """What travels with the states that `DecoderOnly.encode` gave.

    Raises:
        ValueError: These are other states.
    """
    if memory is None or not len(memory):
        return None
    found = getattr(memory, "prefix", None)
    if not isinstance(found, Prefix):
        raise ValueError("decode of a decoder alone needs the very states that its encode gave")
    return found


def joined_cache(prefix: Prefix, reads: Tensor) -> KeyValues:
    """Keys and values of source sequences int64 [R], one row each."""
    (group,), (cache,) = prefix.groups, prefix.caches
    return KeyValues(chosen_rows(cache, _row_in(group, reads)), group.index.shape[1])


def _row_in(group: Group, sequences: Tensor) -> Tensor:
    """int64 [s]: the row of each sequence in a group; 0 for one that is not there."""
    order = torch.argsort(group.sequences)
    place = torch.searchsorted(group.sequences[order], sequences.clamp(min=0))
    return order[place.clamp(max=len(order) - 1)] * (sequences >= 0)


def _dense(layout: Layout) -> tuple[bool, ...]:
    """For each adapter: its positions see each other; empty where no position is of such a one."""
    found = tuple(name != TOKENS for name in layout.adapters)
    if not any(found):
        return ()
    present = set(layout.adapter.unique().tolist())
    return found if any(found[number] for number in present) else ()


def _seen_in_source(layout: Layout, group: Group, dense: tuple[bool, ...]) -> Tensor:
    """bool [s, L, L]: a position sees earlier ones; where values are no tokens, all of its own segment."""
    segment = layout.segment[group.index]
    number = torch.arange(group.index.shape[1], device=segment.device)
    seen = (number <= number[:, None]).expand(len(segment), -1, -1)
    if dense:
        kind = torch.tensor(dense, device=segment.device)[layout.adapter[group.index]]
        own = segment[:, :, None] == segment[:, None, :]
        seen = seen | (own & kind[:, :, None] & kind[:, None, :])
    both = group.real[:, :, None] & group.real[:, None, :]
    return (both & seen) | torch.diag_embed(~group.real)


def _window(config: Any) -> tuple[int | None, tuple[str, ...]]:
    """Positions that some layers see, and the kinds of layers where masks are asked for by kind."""
    window = getattr(config, "sliding_window", None)
    kinds = tuple(dict.fromkeys(getattr(config, "layer_types", None) or ()))
    if window is None or (kinds and not any(kind.startswith("sliding") for kind in kinds)):
        return None, ()
    return int(window), kinds
