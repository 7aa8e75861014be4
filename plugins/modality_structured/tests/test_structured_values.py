"""Values in all forms, and those that are refused."""

from __future__ import annotations

import copy
import datetime
import json
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest

from ofa_modality_structured.markup import as_html
from ofa_modality_structured.recognition import is_structure
from ofa_modality_structured.saving import save_structure
from ofa_modality_structured.values import Lookup, as_structure
from ofacore.protocols import RowError


def plain(value):
    return as_structure(value, "t", Lookup()).plain


class Frame:
    """What is asked of a data frame, without pandas."""

    columns = ("a", "a")

    def itertuples(self, index, name):
        assert (index, name) == (False, None)
        return iter([(np.int64(1), float("nan")), (np.float64(2.5), "x")])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Frame(), [["a", "a"], [1, None], [2.5, "x"]]),
        (np.array([[1, 0], [0, 2]]), [[1, 0], [0, 2]]),
        ((("a", "b"), (1, 2)), [["a", "b"], [1, 2]]),
        ('[["a"], [1]]', [["a"], [1]]),
        ({"a": np.array([1, 2])}, {"a": [1, 2]}),
        ([["when"], [datetime.date(2020, 1, 2)]], [["when"], ["2020-01-02"]]),
        ([["x", "y"], [np.bool_(True), np.float32(0.5)]], [["x", "y"], [True, 0.5]]),
        ([["x"], [Decimal("1.50")], [Decimal(3)]], [["x"], [1.5], [3]]),
        (b"a,b\n1,\xc3\xa9\n", [["a", "b"], ["1", "é"]]),
        (b"a\tb\nx, y\t2\n", [["a", "b"], ["x, y", "2"]]),
        ({"a": np.array(["2020-01-02", "NaT"], "M8[ns]")}, {"a": ["2020-01-02T00:00:00", None]}),
        ({"a": np.datetime64("2020-01-02", "ns"), "b": 1}, {"a": "2020-01-02T00:00:00", "b": 1}),
        (np.array([["2020-01-02"]], "M8[ns]"), [["2020-01-02T00:00:00"]]),
        (np.array([["2020-01-02"]], "M8[D]"), [["2020-01-02"]]),
    ],
)
def test_values_become_plain_tables(value, expected):
    assert is_structure(value)
    found = plain(value)
    assert found == expected
    assert json.loads(json.dumps(found)) == expected


def test_a_data_frame_of_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": [pandas.Timestamp("2020-01-02"), pandas.NaT]})
    assert plain(frame) == [["a", "b"], [1, "2020-01-02T00:00:00"], [2, None]]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("t.csv", 'a,b\r\n"x, y",\r\n\r\n', [["a", "b"], ["x, y", ""]]),
        ("t.tsv", "\ufeffa\tb\nß\t日本\n", [["a", "b"], ["ß", "日本"]]),
        ("t.json", '[{"a": 1}]', [{"a": 1}]),
    ],
)
def test_files_are_read(tmp_path, name, content, expected):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8", newline="")
    assert plain(path) == plain(str(path)) == expected


LOOP: list = []
LOOP.append(LOOP)
RING: dict = {"a": 1}
RING["self"] = RING


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([["a", "b"], ["c"]], "column 't': row 2 has 1 cells, but the first row has 2; fill"),
        ([], "column 't': an empty table; give a list of rows"),
        ([[], []], "column 't': a table without columns"),
        ({}, "column 't': an empty dict"),
        ([{}], "column 't': its dicts are empty"),
        (LOOP, "column 't', row 1: a list of 1 is no cell"),
        (RING, "column 't', 'self': a dict of 2 is no cell"),
        (
            [["a"], [{"b": 1}]],
            "row 2: a dict of 1 is no cell; a cell is a text, .*; the transform 'to_json' makes",
        ),
        ([["a"], [float("inf")]], "row 2: inf is no cell"),
        ([["a"], [10**5000]], "row 2: a number of 16610 bits is no cell"),
        ([["a"], [Decimal("Infinity")]], "row 2: inf is no cell"),
        ([["a"], [1j]], "row 2: .* is no cell"),
        ({"a": [1, 2], "b": [1]}, "'b' has 1 cells, but 'a' has 2"),
        ({1: "x"}, "the name 1 is no text"),
        ([["a"], {"a": 1}], "neither all rows nor all dicts"),
        (7, "7 is no table; give a list of rows"),
        (None, "None is no table"),
        ({"table_content": "x"}, "'table_content' is no list of rows"),
        ({"table_content": [["x"]], "head": "y"}, "has no head; its keys are table_name"),
        ({"table_content": [["x"]], "table_head": ["a", "b"]}, "2 names for 1 cells a row"),
        ("missing.csv", "there is no file 'missing.csv'; give the path of a CSV"),
        ("a\0b", "there is no file"),
        ("x" * 5000, "there is no file"),
        ('[["a"', "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ('[["a"], [[1]]]', "row 2: a list of 1 is no cell"),
        ({"database": "d", "tables": [{"columns": []}]}, "a database as a dict has .* KeyError"),
        ({"database": "d", "tables": 5}, "a database as a dict has"),
        (b"\xff\xfe", "is no text in UTF-8"),
        (b"", "the CSV is empty"),
    ],
)
def test_what_cannot_be_used_is_named(value, message):
    with pytest.raises(RowError, match=message):
        as_structure(value, "t", Lookup())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"a,b\n1\n", "line 2 of the CSV has 1 fields, its head 2; quote fields"),
        ("t.csv", b'a,b\n"1,2\n', "is no CSV"),
        ("t.csv", b"", "the CSV is empty"),
        ("t.csv", b"a,b\n\xff,1\n", "is no text in UTF-8 .byte 4"),
        ("t.xlsx", b"PK", "is no table; give a CSV"),
        ("t.json", b"{", "is no JSON"),
        ("t.sqlite", b"not a database at all", "is no SQLite database; give"),
        ("t.db", b"SQLite format 3\0" + b"x" * 200, "cannot be read as an SQLite database"),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RowError, match=f"column 't'.*{message}"):
        as_structure(str(path), "t", Lookup())


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(RowError, match="there is no file"):
        as_structure(tmp_path, "t", Lookup())


def test_nothing_of_the_callers_value_changes():
    value = {"table_name": "T", "table_head": ["A_b"], "table_content": [["X(1)"], [None]]}
    before = copy.deepcopy(value)
    found = plain(value)
    found["table_content"][0][0] = "changed"
    assert value == before


def test_one_value_and_a_list_of_values_are_told_apart():
    table, record, columns = [["a", "b"], [1, 2]], {"a": 1}, {"a": [1, 2]}
    named = {"table_content": [["x"]]}
    for one in (table, record, columns, named, [record, record], "t.csv", b"a", np.zeros((2, 2))):
        assert is_structure(one), one
    for many in ([table, table], [columns, columns], [named], ["a.csv"], [], None, 5, [record, 5]):
        assert not is_structure(many), many


def test_values_are_shown_escaped_and_texts_open_no_file(tmp_path):
    shown = as_html([["<b>", 1]])
    assert "<td>&lt;b&gt;</td><td>1</td>" in shown
    path = tmp_path / "secret.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    assert "<td>" not in as_html(str(path))
    assert "<td>1</td>" in as_html(path)
    assert "1 more rows" in as_html([["a"], *[[i] for i in range(200)]])


def test_values_are_saved_by_their_ending(tmp_path):
    rows = [["a", "b"], [1, None]]
    save_structure(rows, tmp_path / "t.json")
    save_structure(rows, tmp_path / "t.csv")
    assert plain(tmp_path / "t.json") == rows
    assert plain(tmp_path / "t.csv") == [["a", "b"], ["1", ""]]
    save_structure("no table", tmp_path / "t.txt")
    assert (tmp_path / "t.txt").read_text(encoding="utf-8") == "no table"
    for value, name in ((rows, "t.xlsx"), ("no table", "u.csv")):
        with pytest.raises(ValueError, match="written? as .json|no rows"):
            save_structure(value, tmp_path / name)


def test_the_manifest_is_light():
    code = "import sys, ofa_modality_structured.manifest; print({'torch', 'numpy', 'pandas'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
