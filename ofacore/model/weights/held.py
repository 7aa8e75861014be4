"""What this process holds of a model's weights, under their portable names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from ofacore.model.weights.named import stored
from ofacore.parallel.held_parts import piece
from ofacore.parallel.sharding import local

if TYPE_CHECKING:
    from ofacore.model.universal import UniversalModel

_TABLES = ("embedding.table.weight", "embedding.projection.weight")


def weight_pieces(model: UniversalModel) -> dict[str, Tensor]:
    """Portable name -> this process's piece, in the memory of the model; no process is asked."""
    found = {name: piece(local(value.detach()), value) for name, value in stored(model).items()}
    lengths, own = table_lengths(model), dict(model.named_parameters())
    for name in _TABLES:
        if name in own:
            for portable, rows in model.portable_rows(name).items():
                found[portable] = piece(own[name].detach()[rows], own[name], lengths[portable])
    found.update(
        (f"embedding.{name}.bias", rows) for name, rows in model.embedding.bias_rows().items()
    )
    return found


def table_lengths(model: UniversalModel) -> dict[str, int]:
    """Portable name -> rows of a vocabulary block in all processes together."""
    sizes = {f"embedding.{block.name}": block.size for block in model.vocabulary.blocks}
    return sizes | {f"{name}.output": size for name, size in sizes.items()}
