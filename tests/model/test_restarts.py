"""Coordinates that count from 0 in every run and segment, decoded step by step and read at once."""

from dataclasses import replace

import numpy as np
import torch

from ofacore.decoding.session import Session
from ofacore.protocols import BatchSide
from tests.model.layouts import Chunk, Sample, collate, coordinates, model


def restarted(side: BatchSide, chunks: list[tuple[Chunk, ...]]) -> BatchSide:
    where = np.concatenate([coordinates((chunk,)) for own in chunks for chunk in own])
    return BatchSide(replace(side.layout, coordinates=torch.from_numpy(where)), side.calls)


@torch.no_grad()
def test_a_session_counts_as_one_pass_does() -> None:
    rng = np.random.default_rng(5)
    built = model(positions="untied").eval()
    assert built.restarts and not model().restarts
    first, last = rng.integers(6, 66, 3), rng.integers(6, 66, 4)
    grid = rng.normal(size=(6, 5)).astype(np.float32)
    source = (Chunk(rng.integers(6, 66, 5)), Chunk(grid[::-1].copy(), (2, 3), adapter="grid"))
    target = (
        Chunk(first, causal=True),
        Chunk(grid, (2, 3), adapter="grid"),
        Chunk(last, causal=True),
    )
    batch = collate([Sample(source, target)])
    batch = replace(
        batch, source=restarted(batch.source, [source]), target=restarted(batch.target, [target])
    )
    expected = built.hidden(batch).target

    session = Session(
        built,
        lambda adapter, shape: coordinates((Chunk(np.zeros(6), shape, adapter=adapter),)),
        batch.source,
        1,
    )
    found = [session.step({"tokens": torch.tensor([token])}, "token")[0] for token in first]
    session.pending = None
    session.begin_segment()
    session.commit({"values": torch.from_numpy(grid)}, "grid", [(2, 3)])
    session.begin_segment()
    found += [session.step({"tokens": torch.from_numpy(last[:2])}, "token")[0]]
    session.reorder(torch.tensor([0]))
    found += [session.step({"tokens": torch.tensor([token])}, "token")[0] for token in last[2:]]
    wanted = torch.cat([expected[:3], expected[9:]])
    torch.testing.assert_close(torch.cat(found), wanted, atol=1e-5, rtol=1e-4)
