"""Which samples a step holds is arithmetic: every epoch is a permutation, and resuming changes nothing."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofacore.batching.cursor import Cursor, replacement, sample_ref
from ofacore.batching.permutation import Permutation, item_rng, stable_key

COUNTS = st.dictionaries(st.sampled_from("abc"), st.integers(0, 9))
ROWS = {"a": 5, "b": 17, "c": 1}


@given(st.integers(1, 700), st.integers(0, 2**64 - 1))
def test_a_permutation_is_a_bijection(n, key):
    permutation = Permutation(n, key)
    assert sorted(permutation[index] for index in range(n)) == list(range(n))


def test_permutations_of_other_keys_differ_and_look_random():
    n, keys = 1000, range(40)
    tables = np.array([[Permutation(n, stable_key("k", key))[i] for i in range(n)] for key in keys])
    assert len({tuple(table) for table in tables}) == len(keys)
    same_place = (tables == np.arange(n)).sum(1)
    assert same_place.mean() < 2
    neighbours = (np.diff(tables, axis=1) == 1).mean()
    assert neighbours < 0.005
    assert abs(tables[:, 0].mean() / n - 0.5) < 0.2


def test_a_permutation_of_a_billion_needs_no_memory():
    permutation = Permutation(10**9, 3)
    assert len({permutation[i] for i in range(1000)}) == 1000
    assert all(0 <= permutation[i] < 10**9 for i in range(10**9 - 100, 10**9))


@pytest.mark.parametrize("index", [-1, 4])
def test_a_permutation_has_ends(index):
    with pytest.raises(IndexError):
        Permutation(4, 1)[index]


@given(st.lists(COUNTS, max_size=8), st.integers(0, 8), st.integers(0, 5))
def test_resuming_continues_with_the_same_samples(steps, stop, seed):
    cursor, straight = Cursor(), []
    for counts in steps:
        straight.append(cursor.samples(counts, ROWS, seed))
        cursor = cursor.advance(counts)
    resumed = Cursor()
    for counts in steps[:stop]:
        resumed = resumed.advance(counts)
    resumed = Cursor.from_state(json.loads(json.dumps(resumed.state())))
    for number, counts in enumerate(steps[stop:], start=stop):
        assert resumed.samples(counts, ROWS, seed) == straight[number]
        resumed = resumed.advance(counts)
    assert {k: v for k, v in resumed.positions.items() if v} == {
        k: v for k, v in cursor.positions.items() if v
    } or stop > len(steps)


def test_every_epoch_uses_each_row_once_in_its_own_order():
    refs = Cursor().samples({"b": 51}, ROWS, 3)
    epochs = [[ref.index for ref in refs if ref.epoch == epoch] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(17)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert [ref.number for ref in refs] == list(range(51))


def test_tasks_and_seeds_have_their_own_order():
    orders = {
        tuple(sample_ref(task, k, 50, seed).index for k in range(50))
        for task in "ab"
        for seed in (1, 2)
    }
    assert len(orders) == 4


def test_no_rows_is_an_error_that_names_the_task():
    with pytest.raises(ValueError, match="task 'a' has no rows"):
        Cursor().samples({"a": 1}, {"a": 0}, 1)


def test_replacements_depend_on_number_and_attempt_alone():
    ref = sample_ref("a", 12, 1000, 1)
    again = sample_ref("a", 12, 1000, 1)
    found = [replacement(ref, attempt, 1000, 1).index for attempt in range(1, 20)]
    assert found == [replacement(again, attempt, 1000, 1).index for attempt in range(1, 20)]
    assert len(set(found)) > 15


def test_generators_are_keyed_by_every_argument():
    base = (1, "a", 0, 5, 0)
    others = [
        (2, "a", 0, 5, 0),
        (1, "b", 0, 5, 0),
        (1, "a", 1, 5, 0),
        (1, "a", 0, 6, 0),
        (1, "a", 0, 5, 1),
    ]
    first = item_rng(*base).integers(2**60)
    assert first == item_rng(*base).integers(2**60)
    assert len({first, *(item_rng(*other).integers(2**60) for other in others)}) == 6
