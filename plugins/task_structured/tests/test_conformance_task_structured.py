"""The conformance kit on this plugin."""

import sqlite3
from contextlib import closing

import pytest

from ofa_kit import TaskConformance

PUZZLE = [[1, 2, 3, 4], [3, 4, 1, 0], [2, 1, 4, 3], [4, 3, 2, 1]]
SOLUTION = [[1, 2, 3, 4], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 1]]


class TestStructuredTasks(TaskConformance):
    plugin = "ofa_task_structured.manifest:MANIFEST"


@pytest.fixture(autouse=True)
def sample_rows(tmp_path, monkeypatch):
    """Rows of the tasks whose metrics ask for a grid, or for a query that a database answers."""
    path = tmp_path / "cars.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE car (name TEXT, year INTEGER)")
    rows = {
        "row_regression": [{"value": "7"}],
        "sudoku": [{"puzzle": PUZZLE, "solution": SOLUTION}],
        "text_to_sql": [{"database": str(path), "tgt": "SELECT name FROM car"}],
    }
    monkeypatch.setattr(TestStructuredTasks, "rows", rows)
