"""Rows in the columns of the published data sets: planned, trained on, answered; and the transforms that read them."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from ofa_task_structured.transforms import (
    TRANSFORMS,
    digit_grid,
    lower_sql,
    marked_table,
    sqlite_path,
    triples,
)
from ofacore import Generalist, Task
from ofacore.plugin import Registry

SIZES = {"hidden": 32, "ffn": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
SPIDER = [
    {"db_id": "pets", "question": "How many dogs are there?", "query": "SELECT COUNT(*) FROM Dog"},
    {
        "db_id": "pets",
        "question": "How old is Rex?",
        "query": "SELECT age FROM Dog WHERE n = 'Rex'",
    },
]
DART = [
    {
        "tripleset": [["Oslo", "CAPITAL_OF", "Norway"], ["Oslo", "POPULATION", "700000"]],
        "target": "Oslo, a town of 700000 people, is Norway's capital.",
        "references": [
            "Oslo, a town of 700000 people, is Norway's capital.",
            "The capital of Norway is Oslo; 700000 people live there.",
        ],
    },
    {
        "tripleset": [["Bern", "COUNTRY", "Switzerland"]],
        "target": "Bern is a town in Switzerland.",
        "references": ["Bern is a town in Switzerland."],
    },
]
FETAQA = [
    {
        "table_page_title": "Boats of a lake",
        "table_array": [["boat", "year", "seats"], ["Anna", "1931", "40"], ["Berta", "1950", "90"]],
        "question": "When was the larger boat built?",
        "answer": "The Berta, which has 90 seats, was built in 1950.",
    },
    {
        "table_page_title": "Hills",
        "table_array": [["hill", "height"], ["Low", "90 m"], ["High", "300 m"]],
        "question": "How high is the hill High?",
        "answer": "The hill called High is 300 m high.",
    },
]
SOLVED = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
KAGGLE = [
    {"quizzes": "0" + SOLVED[1:], "solutions": SOLVED},
    {"quizzes": SOLVED[:-1] + ".", "solutions": SOLVED},
]
TITANIC = [
    {"row": {"age": 31, "sex": "female", "fare": 7.25}, "class": "survived"},
    {"row": {"age": None, "sex": "male", "fare": 8.05}, "class": "died"},
]
TABLE = {
    "database": "table_array",
    "src": "question",
    "tgt": "answer",
    "title": "table_page_title",
}
PUBLISHED = {
    "text_to_sql": (SPIDER, {"src": "question", "tgt": "query", "database": "db_id"}),
    "table_to_text": (DART, {"database": "tripleset", "tgt": "target"}),
    "table_qa": (FETAQA, TABLE),
    "sudoku": (KAGGLE, {"puzzle": "quizzes", "solution": "solutions"}),
    "row_classification": (TITANIC, {}),
}


@pytest.fixture
def databases(tmp_path, monkeypatch):
    """A folder of databases below the working directory, as Spider has it."""
    folder = tmp_path / "database" / "pets"
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "pets.sqlite")) as connection:
        connection.executescript("CREATE TABLE dog (n TEXT, age INTEGER)")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("databases")
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_columns_are_trained_on_and_answered(name):
    found, columns = PUBLISHED[name]
    task = Task(name, preset=name, train=found, columns=columns)
    model = Generalist.create([task], **SIZES)
    model.fit(2, samples=2, precision="fp32", faults={"bad_rows": "raise"})
    answers = model.infer(name, found, max_length=4)
    assert len(answers) == 2


def test_transforms_are_found_by_name():
    registry = Registry.discover()
    functions = {part.name: registry.load("transform", part.name) for part in TRANSFORMS}
    assert functions == {
        "sqlite_path": sqlite_path,
        "lower_sql": lower_sql,
        "triples": triples,
        "marked_table": marked_table,
        "digit_grid": digit_grid,
    }


def test_a_database_is_found_by_its_name():
    path = sqlite_path("pets", folder="spider")
    assert path.replace("\\", "/") == "spider/pets/pets.sqlite"
    assert sqlite_path(path) == path
    assert sqlite_path(b"content") == b"content"


def test_sql_keeps_what_stands_between_quotation_marks():
    query = "SELECT  Name\nFROM T WHERE a = 'It''s  A' AND \"B c\" = 1 "
    assert lower_sql(query) == "select name from t where a = 'It''s  A' and \"B c\" = 1"


def test_triples_of_a_line_may_hold_a_colon_at_the_end():
    assert triples("a : b : c | d : e : 2-10 : 0") == [["a", "b", "c"], ["d", "e", "2-10 : 0"]]
    assert triples([["a", "b", "c"]]) == [["a", "b", "c"]]
    with pytest.raises(ValueError, match="write its three parts as a : b : c"):
        triples("a : b")


def test_a_marked_line_is_a_table_with_name_and_head():
    line = (
        "[table name] Boats [table head] boat : year [table content] Anna : 1931 | Berta : 1950 |"
    )
    assert marked_table(line) == {
        "table_name": "Boats",
        "table_head": ["boat", "year"],
        "table_content": [["Anna", "1931"], ["Berta", "1950"]],
    }
    assert marked_table("boats.csv") == "boats.csv"


def test_the_first_and_the_last_cell_of_a_table_may_be_empty():
    line = "[table name] n [table head] a : b [table content]  : y | x : "
    assert marked_table(line)["table_content"] == [["", "y"], ["x", ""]]


@pytest.mark.parametrize("text", ["1 : 0 | 0 : 1", "1001", "1..1", [[1, 0], [0, 1]]])
def test_grids_are_read_in_every_form(text):
    assert digit_grid(text) == [[1, 0], [0, 1]]


@pytest.mark.parametrize("text", ["grid.csv", "[[1, 0], [0, 1]]", "100", ""])
def test_other_texts_stay_as_they_are(text):
    assert digit_grid(text) == text
