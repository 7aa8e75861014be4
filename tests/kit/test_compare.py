"""Comparing values of any kind: what agrees, what does not, and where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa_kit.compare import difference
from ofa_kit.replicas import told_apart

NUMBERS = st.floats(-1e6, 1e6) | st.integers(-1000, 1000)
VALUES = st.recursive(
    NUMBERS | st.text() | st.none() | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@dataclass
class Point:
    x: float
    name: str = ""


@given(VALUES)
def test_a_value_equals_its_copy(value):
    copy = (
        list(value)
        if isinstance(value, list)
        else dict(value)
        if isinstance(value, dict)
        else value
    )
    assert difference(value, copy) == ""


@given(st.lists(NUMBERS, min_size=1), st.data())
def test_a_number_that_is_too_far_off_is_found_at_its_place(numbers, data):
    place = data.draw(st.integers(0, len(numbers) - 1))
    other = [*numbers[:place], numbers[place] + 1.0, *numbers[place + 1 :]]
    assert difference(numbers, other, 1.5) == ""
    assert f"the value[{place}]" in difference(numbers, other, 0.5)


@pytest.mark.parametrize(
    ("given_value", "found", "said"),
    [
        ([1, 2], [1, 2, 3], "had shape (2,) and has (3,)"),
        (["a"], ["a", "b"], "had 1 parts and has 2"),
        ({"a": 1}, {"b": 1}, "had the keys ['a'] and has ['b']"),
        ({"a": "x"}, {"a": "y"}, "the value['a'] was 'x' and is 'y'"),
        (Point(1.0), Point(2.0), "the value['x'] was 1.0 and is 2.0"),
        (np.zeros((2, 2)), np.eye(2), "[0, 0] was 0.0 and is 1.0"),
        (1.0, float("nan"), "was 1.0 and is nan"),
        (None, 0, "was None and is 0"),
        ("a", ["a"], "was 'a'"),
    ],
)
def test_what_differs_is_said(given_value, found, said):
    assert said in difference(given_value, found)


def test_nan_equals_nan_and_tuples_equal_lists():
    assert difference([float("nan"), 1.0], (float("nan"), 1.0)) == ""


def test_what_ranks_compute_may_differ_in_shares_of_the_largest():
    expected = {"states": np.array([0.5]), "gradient of w": np.array([26.45511, 0.1])}
    rounded = {**expected, "gradient of w": np.array([26.455007, 0.1])}
    assert told_apart(expected, rounded, 1e-4) == ""
    for other in (26.4, np.nan):
        wrong = {**expected, "gradient of w": np.array([other, 0.1])}
        assert "'gradient of w'][0] was 26.45511" in told_apart(expected, wrong, 1e-4)
    assert "[0] was 0.5" in told_apart(expected, {**expected, "states": np.array([0.5002])}, 1e-4)
    assert "had the keys" in told_apart(expected, {"states": expected["states"]}, 1e-4)


@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan])
def test_numbers_without_end_equal_themselves_alone(number):
    assert difference({"score": number}, {"score": number}, 1e-6) == ""
    for other in {0.0, np.inf, -np.inf} - {number}:
        assert "apart" in difference([number], [other], 1e-6)
