"""Cross-attention as criteria read it: cut out of the rows of attention, item by item.

Attention works on rows that hold several samples, with padding. A criterion sees one matrix for each of its items:
how much each of the item's positions reads of each position of its own source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ofacore.ground.errors import UserError
from ofacore.protocols import AttentionCriterion, Layout, TermGroup, seen_as


def layers_of(criterion: Any, name: str, decoder_layers: int) -> tuple[int, ...]:
    """The decoder layers, counted from 0, whose cross-attention a criterion asks for, in its order.

    Raises:
        UserError: The model has no such layer.
    """
    wanted = tuple(seen_as(AttentionCriterion, criterion).attention_layers)
    wrong = next((layer for layer in wanted if not -decoder_layers <= layer < decoder_layers), None)
    if wrong is not None:
        raise UserError(
            f"criterion '{name}' asks for the attention of decoder layer {wrong}, but the model has "
            f"{decoder_layers}: 0 to {decoder_layers - 1}, or -1 for the last"
        )
    return tuple(layer % decoder_layers for layer in wanted)


def item_attention(
    attention: Mapping[int, Sequence[Tensor]],
    layers: Sequence[int],
    group: TermGroup,
    target: Layout,
    source: Layout,
) -> list[list[Tensor]]:
    """For each layer and each item of a group: [heads, positions of the item, positions of its source].

    Args:
        attention: Layer -> weights [rows, heads, L, K] of each attention group.
        layers: Which of them, in which order.
        group: Items on the target side.
        target: Where the target's positions stand.
        source: Where the source's positions stand.
    """
    places = _places(target)
    cuts = [
        _cut(positions, places, target, source)
        for positions in group.index.cpu().split(list(group.lengths))
    ]
    found = []
    for layer in layers:
        found.append([_taken(attention[layer], cut) for cut in cuts])
    return found


def _places(target: Layout) -> Tensor:
    """int64 [N, 3]: attention group, row and column of each target position."""
    places = torch.zeros(target.positions, 3, dtype=torch.int64)
    for number, rows in enumerate(target.rows):
        rows = rows.cpu()
        row, column = (rows >= 0).nonzero(as_tuple=True)
        group = torch.full_like(row, number)
        places[rows[row, column]] = torch.stack([group, row, column], dim=1)
    return places


def _cut(
    positions: Tensor, places: Tensor, target: Layout, source: Layout
) -> tuple[int, int, Tensor, Tensor]:
    """Group, row, columns and keys of one item; its positions belong to one sequence, which stands in one row."""
    number, row = (int(part) for part in places[positions[0], :2])
    read = target.memory_rows[number][row].cpu()
    owner = source.sequence.cpu()[read.clamp(min=0)]
    assert target.memory is not None
    own = int(target.memory[target.sequence[positions[0]]])
    keys = ((read >= 0) & (owner == own)).nonzero().squeeze(1)
    return number, row, places[positions, 2], keys


def _taken(weights: Sequence[Tensor], cut: tuple[int, int, Tensor, Tensor]) -> Tensor:
    number, row, columns, keys = cut
    device = weights[number].device
    chosen = weights[number][row].index_select(1, columns.to(device))
    return chosen.index_select(2, keys.to(device))
