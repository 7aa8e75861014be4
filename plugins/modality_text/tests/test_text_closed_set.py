"""Closed sets: what may follow, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofacore.protocols import EOS, RowContext, RowError, SlotPlan

from .conftest import bound

TEXT = bound()
SLOT = SlotPlan("t", "TEXT", "target", 0, "text", "token", {"closed_set": True}, loss=True)


def _context(values):
    return RowContext({}, "task", "train", np.random.default_rng(0), closed_sets={"t": values})


@given(
    values=st.lists(st.text(alphabet="cat dog", max_size=6), min_size=1, max_size=8, unique=True)
)
def test_allowed_ids_are_those_of_members_with_the_same_beginning(values):
    context = _context(values)
    members = [(*ids.tolist(), EOS) for ids in TEXT.expect(SLOT, context).closed_set]
    for value in values:
        segment = TEXT.encode(value, SLOT, context)[0]
        assert len(segment.allowed) == len(segment.ids) + 1
        for i, allowed in enumerate(segment.allowed):
            prefix = tuple(segment.ids[:i].tolist())
            assert allowed.tolist() == sorted(
                {m[i] for m in members if len(m) > i and m[:i] == prefix}
            )


def test_a_value_outside_the_set_is_refused_with_the_nearest_one():
    with pytest.raises(
        RowError,
        match="column 't': 'posiitve' is not in its closed set of 2; did you mean 'positive'",
    ):
        TEXT.encode("posiitve", SLOT, _context(("positive", "negative")))
    with pytest.raises(RowError, match="one of: a, b"):
        TEXT.encode("xyz", SLOT, _context(("a", "b")))


def test_a_slot_without_its_set_is_refused():
    with pytest.raises(RowError, match="its closed_set has no values"):
        TEXT.encode("a", SLOT, RowContext({}, "task", "train", np.random.default_rng(0)))


def test_members_and_values_are_normalised_alike():
    slot = SlotPlan(
        "t", "TEXT", "target", 0, "text", "token", {"closed_set": True, "uncased": True}, loss=True
    )
    assert TEXT.encode("CAT", slot, _context(("Cat", "dog")))[0].allowed is not None


def test_sets_may_change_from_row_to_row():
    for number in range(200):
        segment = TEXT.encode("cat", SLOT, _context([f"dog {number}", "cat"]))[0]
        assert sum(len(allowed) for allowed in segment.allowed) > len(segment.allowed)


def test_the_source_is_not_restricted():
    slot = SlotPlan("t", "TEXT", "source", 0, "text", "token", {"closed_set": True})
    assert TEXT.encode("anything", slot, _context(("a",)))[0].allowed is None


def test_rows_with_the_same_set_share_its_members():
    values = ("cat", "dog")
    first, second = (TEXT.expect(SLOT, _context(values)).closed_set for _ in range(2))
    assert first is second
    assert [ids.tolist() for ids in first] == [
        TEXT.encode(v, SLOT, _context(values))[0].ids.tolist() for v in values
    ]


def test_a_given_value_may_lie_outside_the_set():
    slot = SlotPlan(
        "t", "TEXT", "target", 0, "text", "token", {"closed_set": True, "no_loss": True}, loss=False
    )
    assert TEXT.encode("bird", slot, _context(("cat",)))[0].allowed is None
