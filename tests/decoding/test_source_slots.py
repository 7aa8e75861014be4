"""What a session gives of the source: its first segment, or any slot by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ofacore.decoding.session import Session
from tests.decoding.test_uncached import place
from tests.model.layouts import Chunk, Sample, collate, model

LENGTHS = ((2, 3), (4, 1), (1, 5))
"""Tokens of the two slots of each row."""


@pytest.fixture
def session():
    rng = np.random.default_rng(0)
    target = (Chunk(rng.integers(6, 66, 1), causal=True),)
    samples = [
        Sample(tuple(Chunk(rng.integers(6, 66, length)) for length in lengths), target)
        for lengths in LENGTHS
    ]
    side = collate(samples).source
    names = tuple(f"t/{name}" for _ in LENGTHS for name in ("first", "second"))
    named = replace(side, layout=replace(side.layout, slots=names))
    return Session(model().eval(), place, named, len(LENGTHS), task="t")


def test_slots_are_those_of_the_rows(session):
    memory = session._source[0].split([n for lengths in LENGTHS for n in lengths])
    for number, name in enumerate(("first", "second")):
        hidden, lengths = session.source(name)
        assert lengths == tuple(own[number] for own in LENGTHS)
        assert torch.equal(hidden, torch.cat(memory[number::2]))
    assert torch.equal(session.source()[0], session.source("first")[0])


def test_rows_that_were_moved_bring_their_own(session):
    before = session.source("second")[0].split([n for _, n in LENGTHS])
    session.reorder(torch.tensor([2, 0]))
    hidden, lengths = session.source("second")
    assert lengths == (5, 3) and torch.equal(hidden, torch.cat([before[2], before[0]]))


def test_a_slot_that_is_not_there_is_told(session):
    with pytest.raises(ValueError, match="row 0 has no value of 'third'"):
        session.source("third")
