"""The data that come with the presets: splits, puzzles, rows, baselines."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_task_structured.data import rows, sudoku
from ofa_task_structured.manifest import MANIFEST
from ofacore.plugin import Registry

COLUMNS = {preset.name: set(preset.columns) for preset in MANIFEST.presets if preset.data}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def puzzles(cache):
    return sudoku.build(cache)


@pytest.fixture(scope="module")
def measured(cache):
    return rows.build(cache)


def keys(found, column):
    """The different values of a column in each split, as texts."""
    return [{repr(row[column]) for row in found[split]} for split in ("train", "valid", "test")]


def scores(name, options, predictions, found):
    metric = Registry.discover().make("metric", name, options)
    references = [row["solution"] for row in found["test"]]
    metric.update([row["solution"] for row in predictions], references, found["test"])
    return metric.compute()[name]


def test_rows_have_the_columns_of_the_instruction(puzzles, measured):
    for name, found in (("sudoku", puzzles), ("row_classification", measured)):
        assert all(set(row) == COLUMNS[name] for split in found.values() for row in split)


@pytest.mark.parametrize("column", ["puzzle", "solution"])
def test_no_grid_is_in_two_splits(puzzles, column):
    train, valid, test = keys(puzzles, column)
    assert train and valid and test
    assert not (train & valid or train & test or valid & test)


def test_no_puzzle_occurs_twice(puzzles):
    train, valid, test = keys(puzzles, "puzzle")
    assert len(train | valid | test) == sum(len(found) for found in puzzles.values())


def test_there_are_as_many_solutions_as_are_known(puzzles):
    assert sum(map(len, keys(puzzles, "solution"))) == 288


def test_a_puzzle_has_the_one_solution_that_fits(puzzles):
    fewest, most = sudoku.BLANKS
    for row in puzzles["test"]:
        puzzle, solution = np.array(row["puzzle"]), np.array(row["solution"])
        assert fewest <= (puzzle == 0).sum() <= most
        assert (solution == np.where(puzzle == 0, solution, puzzle)).all()
        assert list(sudoku.solutions(row["puzzle"])) == [row["solution"]]


def test_every_row_column_and_box_of_a_solution_holds_every_number(puzzles):
    numbers = {1, 2, 3, 4}
    for row in puzzles["test"]:
        grid = np.array(row["solution"])
        boxes = [grid[y : y + 2, x : x + 2] for y in (0, 2) for x in (0, 2)]
        assert all(set(part.flat) == numbers for part in (*grid, *grid.T, *boxes))


def test_puzzles_are_the_same_whenever_they_are_made(puzzles, tmp_path):
    assert sudoku.build(tmp_path) == puzzles


def test_filling_row_by_row_solves_few_puzzles(puzzles):
    filled = sudoku.baseline(puzzles)
    assert scores("grid_solved", {}, filled, puzzles) == pytest.approx(0.126, abs=1e-3)
    cells = scores("grid_cells", {"puzzle": "puzzle"}, filled, puzzles)
    assert cells == pytest.approx(0.576, abs=1e-3)


def test_rows_are_those_of_both_tables(measured):
    assert sum(len(found) for found in measured.values()) == 178 + 569
    classes = set(rows.CLASSES["wine"]) | set(rows.CLASSES["tumour"])
    for found in measured.values():
        assert {row["class"] for row in found} == classes
    assert {len(row["row"]) for row in measured["test"]} == {10, 13}


def test_numbers_have_two_digits(measured):
    for row in measured["test"]:
        assert all(float(f"{cell:.2g}") == cell for cell in row["row"].values())


def test_no_row_is_in_two_splits(measured):
    train, valid, test = keys(measured, "row")
    assert not (train & valid or train & test or valid & test)


def test_the_most_frequent_class_is_right_in_half_of_the_rows(measured):
    guessed = rows.baseline(measured)
    pairs = zip(guessed, measured["test"], strict=True)
    right = [guess["class"] == row["class"] for guess, row in pairs]
    assert np.mean(right) == pytest.approx(43 / 88)
