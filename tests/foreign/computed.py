"""What an imported model computes, in the numbering of the dictionary that it came with."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ofa_foreign.importing import ARTIFACT, DICTIONARY
from ofacore.batching.collate import collate
from ofacore.generalist.facade import Generalist


def to_theirs(ours: Generalist) -> dict[int, int]:
    """Our id -> row of their table."""
    ids = json.loads(ours.assembly.artifacts[ARTIFACT].files[DICTIONARY])["ids"]
    return {our: row for row, our in enumerate(ids)}


def translated(ids: np.ndarray, table: dict[int, int]) -> list[int]:
    return [table[i] for i in ids.tolist()]


def our_logits(
    ours: Generalist, row: dict[str, str], task: str = "imported"
) -> tuple[list[int], list[int], Tensor]:
    """What the encoder read, what the decoder read, and the logits over their table, [positions, rows]."""
    encoder = ours.assembly.encoders[task]
    example = encoder.encode(row, split="valid", rng=np.random.default_rng(1), row_id="0")
    batch = collate([example])
    hidden = ours.model.hidden(batch)
    group = batch.terms[0]
    group.index = torch.arange(len(hidden.target))
    prediction = ours.model.predict(group, hidden)
    table = to_theirs(ours)
    logits = prediction.logits()
    columns = {int(our): column for column, our in enumerate(prediction.ids)}
    ordered = torch.stack(
        [logits[:, columns[our]] for our, _ in sorted(table.items(), key=lambda pair: pair[1])], 1
    )
    read, written = (
        [
            i
            for piece in pieces
            if piece.adapter == "token"
            for i in translated(piece.features["tokens"], table)
        ]
        for pieces in (example.source[0], example.target)
    )
    return read, written, ordered


def answers(
    ours: Generalist, row: dict[str, str], options: dict[str, Any], task: str = "imported"
) -> list[list[int]]:
    """Candidates that a search finds for a row's source, best first, as rows of their table."""
    found: list[list[int]] = []
    preprocessor, table = ours.assembly.preprocessors["text"], to_theirs(ours)
    decode = preprocessor.decode
    preprocessor.decode = lambda hypothesis, slot, ctx: (
        found.append(hypothesis.value.tolist()) or ""
    )
    try:
        ours.infer(task, {"source": row["source"]}, **options)
    finally:
        preprocessor.decode = decode
    return [[table[i] for i in ids] for ids in found]
