"""Embeddings of rows: the mean of the encoder's states over each row's source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ofacore.data.collate import collate
from ofacore.data.encode import Encoder
from ofacore.data.permutation import stable_key
from ofacore.generate.session import DecodingModel
from ofacore.parts.batch_transfer import batch_on
from ofacore.protocols import Batch, RowError


@torch.no_grad()
def embed_rows(model: DecodingModel, encoder: Encoder, rows: Sequence[Mapping[str, Any]], batch_size: int) -> Tensor:
    """fp32 [rows, H].

    Raises:
        RowError: A row has an empty source.
    """
    vectors = [_embed(model, encoder, rows[i : i + batch_size], i) for i in range(0, len(rows), batch_size)]
    return torch.cat(vectors) if vectors else torch.zeros(0, 0)


def _embed(model: DecodingModel, encoder: Encoder, rows: Sequence[Mapping[str, Any]], first: int) -> Tensor:
    examples = []
    for number, row in enumerate(rows, first):
        rng = np.random.default_rng(stable_key("embed", number))
        examples.append(encoder.encode_request(row, rng=rng, row_id=f"row {number}").source)
        if len(examples[-1].source) != 1:
            raise RowError(
                f"row {number}: an embedding needs exactly one source, this row has {len(examples[-1].source)}"
            )
    batch = Batch(collate(examples).source, None, (), ())
    device = getattr(model, "device", None)
    side = (batch if device is None else batch_on(batch, device)).source
    hidden = model.hidden(Batch(side, None, (), ())).source.float()
    layout = side.layout  # type: ignore[union-attr]
    totals = hidden.new_zeros(len(rows), hidden.shape[-1]).index_add_(0, layout.sequence, hidden)
    return totals / torch.bincount(layout.sequence, minlength=len(rows))[:, None]
