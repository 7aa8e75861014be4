"""The one rule that assigns items to splits."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa_starter import SPLITS, capped, pick, split_of, text_id


@given(st.text())
def test_every_item_has_one_split_for_ever(item):
    assert split_of(item) in SPLITS and split_of(item) == split_of(item)


def test_known_items_stay_where_they_are():
    found = {
        name: split_of(name) for name in ("text/word 0", "text/word 1", "emoji/1F34E", "digits/7")
    }
    assert found == {
        "text/word 0": "train",
        "text/word 1": "valid",
        "emoji/1F34E": "train",
        "digits/7": "train",
    }


def test_shares_are_80_10_10():
    counts = Counter(split_of(f"item/{number}") for number in range(20_000))
    assert counts["test"] == pytest.approx(2000, abs=150)
    assert counts["valid"] == pytest.approx(2000, abs=150)


@pytest.mark.parametrize("other", ["red apple", " Red  Apple!", "red_apple", "RED-APPLE"])
def test_spelling_of_a_text_does_not_change_its_item(other):
    assert text_id(other) == text_id("red apple")


def test_texts_of_punctuation_alone_are_items_of_their_own():
    assert text_id("!") != text_id("?")


@given(st.lists(st.text(min_size=1), unique=True), st.integers(0, 5))
def test_a_subset_does_not_depend_on_the_order(ids, count):
    assert pick(ids, ids, count) == pick(ids[::-1], ids[::-1], count)
    assert len(pick(ids, ids, count)) == min(count, len(ids))


def test_capping_keeps_rows_in_their_split():
    rows = {name: [{"t": f"{name}{number}"} for number in range(9)] for name in SPLITS}
    small = capped(rows, "t", (5, 2, 3))
    assert [len(small[name]) for name in SPLITS] == [5, 2, 3]
    assert all(row in rows[name] for name in SPLITS for row in small[name])
