"""What each form looks like, letter by letter, and that it reads back."""

from __future__ import annotations

import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ofa_modality_structured.forms import Writing, written
from ofa_modality_structured.original import cleaned, cleaned_cells
from ofa_modality_structured.reading import read_back
from ofa_modality_structured.values import Lookup, as_structure
from ofacore.protocols import RowError

TRIPLES = [["Mars Hill College", "JOINED", "1973"], ["Mars_Hill", "location(city)", 'a, "b"']]
PEOPLE = [["Name", "Age"], ["Ann", 31], ["Bob", None]]
SUDOKU = [[5, 3, 0, 0], [6, 0, 0, 1]]


def text(value, side="source", **attributes):
    structure = as_structure(value, "t", Lookup())
    return written(structure, Writing.of(attributes, side), "t")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (TRIPLES, "mars hill college : joined : 1973 | mars hill : locationcity : a  b"),
        (PEOPLE, "name : age | ann : 31 | bob :"),
        ([{"Name": "Ann", "Age": 3}, {"Name": "Bob"}], "name : age | ann : 3 | bob :"),
        ({"Name": ["Ann", "Bob"], "Age": [3, 4.5]}, "name : age | ann : 3 | bob : 4.5"),
        ({"Name": "Ann", "Tall": True}, "name : tall | ann : true"),
        (
            {
                "table_name": "Shooting",
                "table_head": "Rank : Name",
                "table_content": [["1", "Ann"], ["2", "Bob"]],
            },
            "[table name] shooting [table head] rank : name [table content] 1 : ann | 2 : bob",
        ),
        ([["Ω", "Straße"], ["naïve", "日本"]], "ω : straße | naïve : 日本"),
    ],
)
def test_a_table_is_written_as_the_original_does(value, expected):
    assert text(value) == expected
    assert text(value, form="table") == expected


def test_keys_of_triples_come_apart():
    rows = [["Alan_Bean", "birth_place(city)", "Wheeler, Texas"]]
    assert text(rows, col_type="c:k:c") == "alan bean : birth placecity : wheeler  texas"


def test_a_grid_is_a_table_of_digits():
    assert text(SUDOKU) == "5 : 3 : 0 : 0 | 6 : 0 : 0 : 1"
    assert text(SUDOKU, form="table") == text(SUDOKU, form="grid") == text(SUDOKU)


def test_json_keeps_types_and_is_what_a_target_has():
    assert text(PEOPLE, "target") == '[["Name", "Age"], ["Ann", 31], ["Bob", null]]'
    assert text({"é": 1.0, "b": True}, form="json") == '{"é": 1.0, "b": true}'
    assert text(SUDOKU, "target") == "[[5, 3, 0, 0], [6, 0, 0, 1]]"


def test_rows_beyond_the_limit_are_left_out_and_the_head_does_not_count():
    assert text(PEOPLE, max_rows=1) == "name : age | ann : 31"
    assert text(PEOPLE, max_rows=1, form="json") == '[["Name", "Age"], ["Ann", 31]]'
    assert text([{"a": 1}, {"a": 2}], max_rows=1) == "a | 1"
    assert text({"a": [1, 2]}, max_rows=1, form="json") == '{"a": [1]}'
    assert text(SUDOKU, max_rows=1) == "5 : 3 : 0 : 0"
    named = {"table_name": "t", "table_content": [["x"], ["y"]]}
    assert text(named, max_rows=1, form="json") == '{"table_name": "t", "table_content": [["x"]]}'


def test_five_hundred_columns_and_equal_names_are_written():
    wide = [[f"c{i}" for i in range(500)], list(range(500))]
    assert text(wide).count(" : ") == 998
    assert text([["a", "a"], [1, 2]]) == "a : a | 1 : 2"


@pytest.mark.parametrize(
    ("value", "attributes", "message"),
    [
        (PEOPLE, {"form": "grid"}, "form=grid needs a list of rows of whole numbers.*form=table"),
        (PEOPLE, {"form": "database"}, "column 't': form=database needs a database"),
        (PEOPLE, {"col_type": "c"}, "col_type names 1 columns, but its rows have 2"),
        (PEOPLE, {"col_type": "c:x"}, "col_type=c:x is not understood; write c .* or k"),
    ],
)
def test_a_form_that_a_value_does_not_have_is_refused(value, attributes, message):
    with pytest.raises(RowError, match=message):
        text(value, **attributes)


@pytest.mark.parametrize("cell", ["a : b", "a | b", ": a", "b |", "a\nb", "[table head] x"])
def test_cells_that_could_not_be_read_back_are_refused_in_a_target(cell):
    assert text([["head"], [cell]], form="table")
    with pytest.raises(RowError, match="part the cells and rows of form=table; use form=json"):
        text([["head"], [cell]], "target", form="table")


QUIET = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no failure."""
CELLS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
)
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 4))


def grids_of(cells):
    return SHAPES.flatmap(
        lambda shape: st.lists(
            st.lists(cells, min_size=shape[1], max_size=shape[1]),
            min_size=shape[0],
            max_size=shape[0],
        )
    )


@QUIET
@given(rows=grids_of(CELLS))
def test_json_reads_back_to_equal_values_of_equal_types(rows):
    before = copy.deepcopy(rows)
    found = read_back(text(rows, "target"), "json")
    assert found == rows == before
    assert [[type(cell) for cell in row] for row in found] == [
        [type(cell) for cell in row] for row in rows
    ]


@QUIET
@given(record=st.dictionaries(st.text(), CELLS, min_size=1))
def test_a_record_reads_back(record):
    if "table_content" not in record and not {"database", "tables"} <= record.keys():
        assert read_back(text(record, "target"), "json") == record


@QUIET
@given(rows=grids_of(st.integers()))
def test_a_grid_reads_back(rows):
    assert read_back(text(rows, "target", form="grid"), "grid") == rows


@QUIET
@given(rows=grids_of(st.text("abc:| ", max_size=5)))
def test_a_table_reads_back_or_is_refused(rows):
    try:
        line = text(rows, "target", form="table")
    except RowError:
        return
    assert read_back(line, "table") == [[cell.strip() for cell in row] for row in rows]


@pytest.mark.parametrize("content", [[["x", ""], ["", "y"]], []])
def test_a_named_table_reads_back(content):
    value = {"table_name": "t", "table_head": ["a", "b"], "table_content": content}
    assert read_back(text(value, "target", form="table"), "table") == value


@pytest.mark.parametrize(
    ("line", "form"),
    [
        ('[["a", 1', "json"),
        ("NaN", "json"),
        ("7", "json"),
        ("[]", "json"),
        ('[["a"], [1e999]]', "json"),
        ('[["a"], ["b", "c"]]', "json"),
        ('{"a": {"b": 1}}', "json"),
        ("[" * 100_000, "json"),
        ("1 : 2 | 3", "grid"),
        ("a : b", "grid"),
        ("", "grid"),
        ("| db | t : a", "database"),
    ],
)
def test_what_cannot_be_read_back_stays_text(line, form):
    assert read_back(line, form) == line


@QUIET
@given(line=st.text(), form=st.sampled_from(["json", "table", "grid", "database"]))
def test_reading_never_raises(line, form):
    read_back(line, form)


@given(st.lists(st.text(alphabet=' ab(")_,:|\t', max_size=8), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_a_row_is_cleaned_at_once_as_cell_by_cell(cells):
    one_by_one = " : ".join(cleaned(cell, "c") for cell in cells).strip()
    assert cleaned_cells(cells, " : ") == one_by_one
