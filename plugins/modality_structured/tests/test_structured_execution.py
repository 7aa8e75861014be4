"""SQL by the rows that it gives, and SQL that tries more than to read."""

from __future__ import annotations

import hashlib
import pickle
import sqlite3
from contextlib import closing

import pytest

from ofa_kit import MetricConformance
from ofa_modality_structured.metrics.execution import ExecutionAccuracy
from ofa_modality_structured.metrics.sandbox import QueryError, run_query

OPTIONS = {"database": "database", "file": "", "folder": "", "seconds": 5.0, "max_rows": 1000}
NEVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def make(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE t (a INTEGER, b TEXT, c REAL);"
            "INSERT INTO t VALUES (1, 'x', 0.1), (2, 'y', 0.2), (3, 'x', 0.7), (3, NULL, NULL);"
        )
    return path


@pytest.fixture
def path(tmp_path):
    return make(tmp_path / "t.sqlite")


def test_rows_may_not_fill_the_memory(path):
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20)"
    with pytest.raises(QueryError, match="more than 100000000 bytes"):
        run_query(path, f"{numbers} SELECT zeroblob(9000000) FROM n", 60, 1000)


def score(path, prediction, reference, **options):
    metric = ExecutionAccuracy({**OPTIONS, **options})
    metric.update([prediction], [reference], [{"database": str(path)}])
    return metric.compute()["execution_accuracy"]


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ("select a from t where a > 1", "SELECT a FROM t WHERE NOT a <= 1", 1),
        ("SELECT a FROM t ORDER BY a DESC", "SELECT a FROM t", 1),
        ("SELECT a FROM t ORDER BY a DESC", "SELECT a FROM t ORDER BY a", 0),
        ("SELECT a FROM t", "SELECT a FROM t ORDER BY a", 1),
        ("SELECT DISTINCT a FROM t", "SELECT a FROM t", 0),
        ("SELECT a, b FROM t", "SELECT b, a FROM t", 0),
        ("SELECT b FROM t WHERE b IS NULL", "SELECT NULL", 1),
        ("SELECT sum(c) FROM t", "SELECT 1.0", 1),
        ("SELECT 0.1 + 0.2 + 0.7", "SELECT 0.7 + 0.2 + 0.1", 1),
        ("SELECT count(*) FROM t", "SELECT 4.0", 1),
        ("SELECT '4'", "SELECT 4", 0),
        (
            "SELECT a FROM (SELECT a FROM t ORDER BY a)",
            "SELECT a FROM (SELECT a FROM t ORDER BY 1)",
            1,
        ),
        ("SELECT a FROM t", "WITH s AS (SELECT 1) SELECT a FROM t ORDER BY a DESC", 0),
        ("SELECT a FROM t", "WITH s AS (SELECT 1 ORDER BY 1) SELECT a FROM t", 1),
        ("WITH s AS (SELECT a FROM t) SELECT a FROM s", "SELECT a FROM t", 1),
        ("SELECT wrong FROM t", "SELECT a FROM t", 0),
        ("", "SELECT a FROM t", 0),
        ("", "SELECT a FROM t WHERE a > 9", 0),
        ("-- nothing", "SELECT a FROM t WHERE a > 9", 0),
        ("SELECT a FROM t\0", "SELECT a FROM t", 0),
        (None, "SELECT a FROM t", 0),
        ("SELECT 2", ["SELECT 1", "SELECT 2"], 1),
        ("SELECT 3", ["SELECT 1", "SELECT 2"], 0),
    ],
)
def test_known_answers(path, prediction, reference, expected):
    assert score(path, prediction, reference) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES (9, 'z', 0)",
        "UPDATE t SET a = 0",
        "DELETE FROM t",
        "DROP TABLE t",
        "CREATE TABLE u (a)",
        "CREATE TEMP TABLE u (a)",
        "ATTACH DATABASE '{folder}/new.db' AS n",
        "VACUUM INTO '{folder}/new.db'",
        "PRAGMA query_only = OFF",
        "PRAGMA journal_mode = WAL",
        "SELECT * FROM pragma_table_info('t')",
        "BEGIN; DELETE FROM t; COMMIT",
        "SELECT a FROM t; DELETE FROM t",
        "SELECT load_extension('x')",
        "WITH s AS (SELECT 1) DELETE FROM t",
        "REINDEX",
        "ANALYZE",
        "EXPLAIN DELETE FROM t",
        "SELECT length(zeroblob(1000000000))",
        "SELECT length(replace(hex(zeroblob(4000000)), '00', 'aaaa'))",
        "SELECT group_concat(x.b || y.b || z.b) FROM t x, t y, t z, (" + NEVER + ")",
    ],
)
def test_hostile_sql_fails_and_leaves_the_file_as_it_is(path, tmp_path, sql):
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(QueryError):
        run_query(path, sql.format(folder=tmp_path), 0.3, 1000)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "sql",
    [
        NEVER,
        "SELECT count(*) FROM t a, t b, t c, t d, t e, t f, t g, t h, t i, t j, t k, t l, t m, t n",
        "SELECT x.a FROM t x, t b, t c, t d, t e, t f, t g, t h, t i, t j, t k, t l, t m ORDER BY random()",
    ],
)
def test_a_query_that_does_not_end_is_ended(path, sql):
    with pytest.raises(QueryError, match="it takes longer than 0.2 seconds"):
        run_query(path, sql, 0.2, 1000)
    assert score(path, sql, "SELECT 1", seconds=0.2) == 0


def test_a_query_gives_at_most_so_many_rows(path):
    many = "SELECT x.a FROM t x, t y"
    assert len(run_query(path, many, 5, 16)) == 16
    with pytest.raises(QueryError, match="it gives more than 15 rows"):
        run_query(path, many, 5, 15)
    endless = NEVER.replace("count(*)", "i")
    with pytest.raises(QueryError, match="more than 15 rows"):
        run_query(path, endless, 5, 15)


@pytest.mark.parametrize(
    ("row", "reference", "message"),
    [
        ({}, "SELECT 1", "column 'database' of the row names no SQLite file; name another column"),
        (
            {"database": "missing.db"},
            "SELECT 1",
            "column 'database': there is no file 'missing.db'",
        ),
        (
            None,
            "SELECT wrong FROM t",
            "the reference 'SELECT wrong FROM t' fails on .*no such column",
        ),
        (None, "DELETE FROM t", "the reference 'DELETE FROM t' fails on .*not authorized"),
        (None, None, "there is no reference"),
        (None, 5, "the reference is a int, not SQL"),
    ],
)
def test_references_and_databases_that_cannot_be_used_are_told(path, row, reference, message):
    metric = ExecutionAccuracy(OPTIONS)
    rows = [{"database": str(path)}, {"database": str(path)} if row is None else row]
    with pytest.raises(ValueError, match=message):
        metric.update(["SELECT 1", "SELECT 1"], ["SELECT 1", reference], rows)
    assert metric.items() == [], "nothing of a call that fails is kept"


def test_a_file_for_all_rows_that_is_no_database_is_told_by_its_option(tmp_path):
    """Even where the reference reads no table, so that SQLite would not open the file."""
    (tmp_path / "words.txt").write_text("no database")
    for file, message in (
        (tmp_path / "words.txt", "option 'file': .*words.txt is no SQLite database"),
        (tmp_path / "gone.db", "option 'file': there is no file '.*gone.db'"),
    ):
        metric = ExecutionAccuracy({**OPTIONS, "file": str(file)})
        with pytest.raises(ValueError, match=message):
            metric.update(["SELECT 1"], ["SELECT 1"], [{}])


def test_relative_paths_are_looked_for_in_a_folder(path):
    metric = ExecutionAccuracy({**OPTIONS, "folder": str(path.parent)})
    metric.update(["SELECT a FROM t"], ["SELECT a FROM t"], [{"database": path.name}])
    assert metric.compute() == {"execution_accuracy": 1.0}


def test_one_file_may_serve_all_rows(path):
    metric = ExecutionAccuracy({**OPTIONS, "file": str(path)})
    metric.update(["SELECT a FROM t", "SELECT 1"], ["SELECT a FROM t", "SELECT 2"], [{}, {}])
    twin = pickle.loads(pickle.dumps(metric))
    twin.merge(metric)
    assert list(twin.items()) == [1.0, 0.0, 1.0, 0.0]
    assert twin.compute() == {"execution_accuracy": 0.5}


class TestExecutionAccuracy(MetricConformance):
    plugin = "ofa_modality_structured.manifest:MANIFEST"
    requires = ("ofa_modality_text.manifest:MANIFEST",)
    metric = "execution_accuracy"
    references = [f"SELECT a FROM t WHERE a = {number}" for number in range(4)]
    predictions = [references[0], "SELECT a FROM t", references[2], "no query"]
    bounds = (0.0, 1.0)

    @pytest.fixture(autouse=True)
    def database(self, tmp_path, monkeypatch):
        path = make(tmp_path / "t.sqlite")
        monkeypatch.setattr(type(self), "options", {"file": str(path)})
