"""Weights of a model laid out for decoding, while they do not change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from ofacore.model.tokens.embedding import TokenEmbedding
from ofacore.parallel.process_groups import layout, tensor_size
from ofacore.parallel.products import Blocked, can_be_blocked
from ofacore.parallel.split_layers import ColumnLinear, RowLinear


@contextmanager
def blocked_weights(model: object) -> Iterator[None]:
    """Decode faster on a CPU, and take up to the weights' memory once more; see `ofacore.parallel.products`.

    Weights must not change meanwhile. Where layers are split over processes nothing happens.
    """
    if not isinstance(model, nn.Module) or layout().fsdp or tensor_size() > 1:
        yield
        return
    found = [
        module
        for module in model.modules()
        if isinstance(module, ColumnLinear | RowLinear | TokenEmbedding)
    ]
    linears = [
        m.weight for m in found if not isinstance(m, TokenEmbedding) and can_be_blocked(m.weight)
    ]
    weights = [weight for weight in linears if not hasattr(weight, "blocked")]
    embeddings = [m for m in found if isinstance(m, TokenEmbedding) and m.kept_parts is None]
    for weight in weights:
        weight.blocked = Blocked()
    for embedding in embeddings:
        embedding.kept_parts = {}
    try:
        yield
    finally:
        for weight in weights:
            del weight.blocked
        for embedding in embeddings:
            embedding.kept_parts = None
