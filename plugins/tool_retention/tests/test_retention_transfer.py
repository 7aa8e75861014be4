"""Angles, groups and pictures of matrices whose answer is known."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from ofa_retention.grouping import groups_of
from ofa_retention.heatmap import heatmap
from ofa_retention.transfer import LONGEST, cosines, moved, step_of

TASKS = ("a", "b", "c", "d")


def test_cosines_are_over_the_parameters_that_both_have():
    one, two = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])
    found = cosines({"x": {"w": one, "v": one}, "y": {"w": two, "u": two}, "z": {"u": two}}, "xyz")
    assert found[0, 1] == found[1, 0] == pytest.approx(-(0.5**0.5))
    assert found[1, 2] == pytest.approx(1.0) and np.isnan(found[0, 2])


def test_a_step_has_its_length_and_is_taken_back_to_the_bit():
    weights = {"w": torch.randn(5, 3), "v": torch.randn(4)}
    before = {name: each.clone() for name, each in weights.items()}
    with moved(weights, {"w": torch.randn(5, 3)}, 0.25):
        way = weights["w"] - before["w"]
        assert float(way.norm()) == pytest.approx(0.25 * float(before["w"].norm()), rel=1e-3)
        assert torch.equal(weights["v"], before["v"])
    assert all(torch.equal(weights[name], before[name]) for name in weights)


def test_a_step_is_as_long_as_its_own_loss_allows():
    """A parabola falls by half of what the slope promises, or more, up to the step that ends at its bottom."""
    weights = {"x": torch.tensor([2.0])}
    flat = step_of(weights, {"x": torch.tensor([2.0])}, 2.0, lambda: float(weights["x"] ** 2) / 2)
    assert flat == LONGEST

    def sharp() -> float:
        return float(1e4 * (weights["x"] - 1.99) ** 2) / 2

    share = step_of(weights, {"x": torch.tensor([100.0])}, 0.5, sharp)
    assert share == LONGEST / 2 and 2.0 * share <= 0.01 < 2.0 * 2 * share
    assert step_of(weights, {"x": torch.tensor([-1.0])}, 0.0, lambda: 1.0) == 0.0
    assert float(weights["x"]) == 2.0


def test_groups_are_those_that_help_each_other():
    helps = np.full((4, 4), -0.1)
    helps[:2, :2] = helps[2:, 2:] = 0.2
    assert groups_of(TASKS, helps) == [("a", "b"), ("c", "d")]
    assert groups_of(TASKS, np.abs(helps)) == [TASKS]
    assert groups_of(TASKS, -np.abs(helps)) == [("a",), ("b",), ("c",), ("d",)]


def test_what_harms_is_red_and_what_is_not_known_is_white():
    values = np.array([[1.0, 0.5], [-0.5, np.nan]])
    drawn = ElementTree.fromstring(heatmap(("<one>", "two"), values, "of", "on", 1.0))
    cells = [each.get("fill") for each in drawn.iter("rect")][:4]
    red, blue = [tuple(map(int, cells[i][4:-1].split(","))) for i in (2, 1)]
    assert red[0] > red[2] and blue[2] > blue[0] and cells[3] == "#fff"
    assert {"<one>", "two", "-0.50"} <= set(drawn.itertext())
