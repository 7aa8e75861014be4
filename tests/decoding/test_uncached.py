"""A session over a backbone without a cache gives what one with a cache gives, whatever is done with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ofacore.decoding.session import Session
from ofacore.parts import UncachedDecoder
from tests.model.layouts import Chunk, Sample, collate, coordinates, model, random_sample

OPTIONS = [
    {},
    {"positions": "untied"},
    {"experts": "modality", "scale_heads": True},
]
ROWS = 4


def place(adapter: str, shape: tuple[int, ...]) -> np.ndarray:
    return coordinates([Chunk(np.zeros((int(np.prod(shape)), 5)), shape, adapter="grid")])


def pair(options: dict, sources: bool) -> tuple[Session, Session]:
    """A session with the backbone's own cache, and one without, over the same rows."""
    built, rng = model(**options).eval(), np.random.default_rng(3)
    side = None
    if sources:
        given = [random_sample(rng).source for _ in range(ROWS)]
        target = (Chunk(rng.integers(6, 66, 1), causal=True),)
        side = collate([Sample(source, target) for source in given]).source
    own, other = (Session(built, place, side, ROWS, task="t") for _ in range(2))
    other._decoder = UncachedDecoder(built.backbone)
    memory = other._source or (None, None)
    other._cache = other._decoder.start_cache(ROWS, *memory, tasks=("t",))
    return own, other


def grids(shapes: list[tuple[int, int]], rng: np.random.Generator) -> dict[str, torch.Tensor]:
    number = sum(rows * columns for rows, columns in shapes)
    return {"values": torch.from_numpy(rng.normal(size=(number, 5)).astype(np.float32))}


def tokens(session: Session, n: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    return {"tokens": torch.from_numpy(rng.integers(6, 66, session.rows * n))}


def shapes(session: Session, rng: np.random.Generator) -> list[tuple[int, int]]:
    return [(int(rng.integers(1, 3)), int(rng.integers(1, 4))) for _ in range(session.rows)]


def act(session: Session, number: int, rng: np.random.Generator) -> torch.Tensor | None:
    """One of all things that can be done; what it gives."""
    if number == 0:
        return session.step(tokens(session, 1, rng), "token")
    if number == 1:
        valid = torch.from_numpy(np.arange(3) < rng.integers(1, 4, session.rows)[:, None])
        return session.step(tokens(session, 3, rng), "token", valid)[valid]
    if number == 2:
        given = shapes(session, rng)
        return session.denoise(grids(given, rng), "grid", given)
    if number == 3:
        given = shapes(session, rng)
        return session.commit(grids(given, rng), "grid", given)
    if number == 4:
        return session.reorder(
            torch.from_numpy(rng.integers(0, session.rows, int(rng.integers(2, 6))))
        )
    session.begin_segment()
    session.pending = None
    return None


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("sources", [True, False])
@torch.no_grad()
def test_whatever_is_done_the_states_are_the_same(options: dict, sources: bool) -> None:
    own, other = pair(options, sources)
    forks: list[tuple[Session, Session]] = []
    for turn, number in enumerate([1, 0, 2, 5, 3, 4, 0, 2, 1, 5, 0, 3, 4, 2, 0, 1]):
        if turn in (5, 9):
            forks.append((own.fork(), other.fork()))
        found = [act(session, number, np.random.default_rng(turn)) for session in (own, other)]
        check(own, other, found)
    for own, other in forks:
        check(own, other, [act(session, 1, np.random.default_rng(99)) for session in (own, other)])


def check(own: Session, other: Session, found: list) -> None:
    assert (own.rows, own.length) == (other.rows, other.length)
    if found[0] is not None:
        torch.testing.assert_close(found[1], found[0], atol=1e-5, rtol=1e-4)
    if own._source is not None:
        assert all(
            torch.equal(a, b) for a, b in zip(own.source()[0], other.source()[0], strict=True)
        )
