"""Grids by their cells."""

from __future__ import annotations

import pytest

from ofa_modality_structured.metrics.grids import GridCells, GridSolved, as_grid

RIGHT = [[1, 2], [3, 4]]
PUZZLE = [[0, 2], [0, 0]]


def solved(prediction, reference=RIGHT):
    metric = GridSolved({})
    metric.update([prediction], [reference], [{}])
    return metric.compute()["grid_solved"]


def cells(prediction, reference=RIGHT, puzzle=PUZZLE):
    metric = GridCells({"puzzle": "p"})
    metric.update([prediction], [reference], [{"p": puzzle}])
    return metric.compute()["grid_cells"]


@pytest.mark.parametrize(
    ("prediction", "whole", "share"),
    [
        (RIGHT, 1, 1),
        ("1 : 2 | 3 : 4", 1, 1),
        ("[[1, 2], [3, 4]]", 1, 1),
        ([[1, 9], [3, 4]], 0, 1),
        ([[1, 2], [3, 0]], 0, pytest.approx(2 / 3)),
        ([[1, 2]], 0, 0),
        ([[1, 2, 3, 4]], 0, 0),
        ("1 : 2 |", 0, 0),
        ("a text", 0, 0),
        ("t.csv", 0, 0),
        (None, 0, 0),
        ([["1", "2"], ["3", "4"]], 0, 0),
    ],
)
def test_known_answers(prediction, whole, share):
    assert solved(prediction) == whole
    assert cells(prediction) == share


def test_references_may_be_texts_and_several():
    other = [[2, 1], [4, 3]]
    assert solved(RIGHT, "1 : 2 | 3 : 4") == 1
    assert solved(other, [RIGHT, other]) == 1
    assert cells(other, [RIGHT, other]) == 1
    assert cells([[2, 2], [3, 4]], [RIGHT, other]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("reference", [None, "a text", [], [["a"]], 5, [RIGHT, "x"]])
def test_a_reference_that_is_no_grid_is_told(reference):
    with pytest.raises(ValueError, match="grid_solved: the reference .* is no grid"):
        solved(RIGHT, reference)


@pytest.mark.parametrize(
    ("puzzle", "message"),
    [
        (None, "column 'p' holds no grid; name the puzzle's column by the option 'puzzle'"),
        ("a", "holds no grid"),
        ([[0]], "has another size"),
        (RIGHT, r"has no blank cell \(0\)"),
    ],
)
def test_a_puzzle_that_cannot_be_used_is_told(puzzle, message):
    with pytest.raises(ValueError, match=message):
        cells(RIGHT, puzzle=puzzle)


def test_a_text_opens_no_file(tmp_path):
    path = tmp_path / "grid.json"
    path.write_text("[[1, 2], [3, 4]]", encoding="utf-8")
    assert as_grid(str(path)) is None
    assert as_grid("[[1, 2], [3, 4]]") == RIGHT
