"""The conformance kit on this plugin."""

import sqlite3
from contextlib import closing

import pytest

from ofa_kit import TaskConformance

PUZZLE = [[1, 2, 3, 4], [3, 4, 1, 0], [2, 1, 4, 3], [4, 3, 2, 1]]
SOLUTION = [[1, 2, 3, 4], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 1]]


class TestStructuredTasks(TaskConformance):
    plugin = "ofa_task_structured.manifest:MANIFEST"

    @pytest.fixture(autouse=True, scope="class")
    def with_database(self, request, tmp_path_factory):
        path = tmp_path_factory.mktemp("database") / "cars.sqlite"
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript("CREATE TABLE car (name TEXT, year INTEGER)")
        query = {"database": str(path), "tgt": "SELECT name FROM car"}
        request.cls.rows = {
            "sudoku": [{"puzzle": PUZZLE, "solution": SOLUTION}],
            "text_to_sql": [query],
        }
