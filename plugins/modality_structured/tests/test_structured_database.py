"""Databases: schema with keys, values of the question, and nothing written."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from ofa_modality_structured.forms import Writing, written
from ofa_modality_structured.preprocessor import StructurePreprocessor
from ofa_modality_structured.reading import read_back
from ofa_modality_structured.values import Lookup, as_structure
from ofacore.protocols import RowContext, RowError, SlotPlan

SCRIPT = """
CREATE TABLE Stadium (Stadium_ID INTEGER PRIMARY KEY, Name TEXT, "Home City" TEXT);
CREATE TABLE singer (id INTEGER, name TEXT, note, PRIMARY KEY (id, name));
CREATE TABLE concert (title TEXT, Stadium INTEGER REFERENCES Stadium, s INTEGER, n TEXT,
    FOREIGN KEY (s, n) REFERENCES singer (id, name));
INSERT INTO Stadium VALUES (1, 'Hampden Park', 'Glasgow'), (2, 'Park', 'Glasgow'), (3, 'x', NULL);
INSERT INTO singer VALUES (1, 'Ann', x'00ff'), (2, 'An', 5), (3, 'Añá', NULL);
"""
PLAIN = (
    "| music | stadium : stadium_id , name , home city | singer : id , name , note "
    "| concert : title , stadium , s , n"
)


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "music.sqlite"
    with closing(sqlite3.connect(found)) as connection:
        connection.executescript(SCRIPT)
    return found


def text(value, question="", most=2, side="source", **attributes):
    structure = as_structure(value, "db", Lookup(question, most))
    return written(structure, Writing.of(attributes, side), "db")


def test_a_schema_is_written_as_the_original_does(path):
    assert text(path) == PLAIN
    assert text(path.read_bytes()) == PLAIN.replace("music", "database")


def test_values_of_the_question_stand_behind_their_columns(path):
    line = text(path, "Does ANN sing in Hampden Park, Glasgow?")
    assert line == PLAIN.replace(
        "name , home city", "name ( Hampden Park , Park ) , home city ( Glasgow )"
    ).replace("id , name ,", "id , name ( Ann ) ,")
    assert "( Hampden Park )" in text(path, "Hampden Park", 1)
    assert text(path, "Hampden Park", 0) == PLAIN
    assert "( Añá )" in text(path, "who is AÑÁ?")


def test_types_and_keys_are_written_where_they_are_asked_for(path):
    line = text(path, types=True, keys=True)
    assert line.startswith("| music | stadium : stadium_id integer , name text , home city text |")
    assert line.endswith(
        "| primary keys : stadium.stadium_id , singer.id , singer.name "
        "| foreign keys : concert.stadium = stadium.stadium_id , concert.s = singer.id , concert.n = singer.name"
    )


def test_json_of_a_database_reads_back_to_what_is_a_database(path):
    line = text(path, "Glasgow", side="target")
    value = read_back(line, "json")
    assert value["tables"][0]["columns"][0] == {
        "column": "Stadium_ID",
        "type": "INTEGER",
        "primary_key": True,
    }
    assert value["foreign_keys"][0] == ["concert.Stadium", "Stadium.Stadium_ID"]
    assert text(value, side="target") == line
    assert text(value, form="database", keys=True) == text(path, "Glasgow", keys=True)


def test_a_key_without_columns_refers_to_the_primary_key_in_its_order(tmp_path):
    path = tmp_path / "keys.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE p (a, b, PRIMARY KEY (b, a))")
        connection.execute("CREATE TABLE c (x, y, FOREIGN KEY (x, y) REFERENCES p)")
    keys = as_structure(path, "db", Lookup()).foreign_keys
    assert keys == (("c.x", "p.b"), ("c.y", "p.a"))


def test_columns_that_are_computed_are_columns(tmp_path):
    path = tmp_path / "computed.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a, b AS (a || '!'), c AS (a) STORED, d)")
    assert text(path) == "| computed | t : a , b , c , d"


def test_the_content_of_a_database_with_a_log_is_read(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    assert text(path.read_bytes()) == PLAIN.replace("music", "database")


def test_a_database_has_no_form_of_tables(path):
    with pytest.raises(RowError, match="a database has no form=table; form=database or form=json"):
        text(path, form="table")


def test_a_database_without_tables_is_refused(tmp_path):
    path = tmp_path / "empty.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 1")
    with pytest.raises(RowError, match="column 'db': .* is a database without tables"):
        text(path)


def test_a_damaged_database_is_refused(path):
    content = bytearray(path.read_bytes())
    content[100:1000] = b"\xff" * 900
    with pytest.raises(RowError, match="cannot be read as an SQLite database"):
        text(bytes(content))


def test_names_are_quoted_and_nothing_is_written(tmp_path):
    path = tmp_path / "odd name?#%.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute('CREATE TABLE "a""b; DROP TABLE c" ("x""y" TEXT)')
        connection.execute('INSERT INTO "a""b; DROP TABLE c" VALUES (\'red\')')
        connection.commit()
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    assert text(path, "red") == '| odd name?#% | a"b; drop table c : x"y ( red )'
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def context(row):
    return RowContext(row, "task", "test", np.random.default_rng(0))


def slot(**attributes):
    return SlotPlan("db", "STRUCT", "source", 0, "structure", "token", attributes)


def test_a_question_that_is_no_text_is_refused(path):
    preprocessor = StructurePreprocessor({})
    message = "column 'db': question=q is to be a text, but column 'q' holds a list; name a slot"
    with pytest.raises(RowError, match=message):
        preprocessor.encode(path, slot(question="q"), context({"q": ["a"]}))
