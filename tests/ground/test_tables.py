"""Tables of text on a narrow screen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofacore.ground.tables import screen_width, table_lines

TITLES = ("task", "metric", "score", "95 % interval", "baseline", "rows")
LONG = ("compositional_grounding", "iou_accuracy_at_half", "iou_accuracy_at_three_quarters")
ROWS = [
    (*LONG[:2], "0.879", "0.851 to 0.902", "0.102 (the middle of the image)", "300 of 2000"),
    (LONG[0], LONG[2], "0.512", "", "", "300"),
]
words = st.text(st.characters(categories=["L", "N"], max_codepoint=0x4FF), min_size=1, max_size=12)
cells = st.lists(words, max_size=4).map(" ".join)


def test_without_a_width_each_row_is_one_line():
    lines = table_lines(TITLES, ROWS)
    assert len(lines) == 3 and lines[0].split()[:2] == ["TASK", "METRIC"]
    assert "0.102 (the middle of the image)" in lines[1] and " - " in lines[2]


@pytest.mark.parametrize("width", [120, 100, 80])
def test_names_are_whole_on_a_narrow_screen(width):
    lines = table_lines(TITLES, ROWS, width)
    assert max(map(len, lines)) <= width
    for name in LONG:
        assert name in "\n".join(lines)


def test_a_table_that_is_too_wide_for_its_names_becomes_blocks():
    lines = table_lines(TITLES, ROWS, 60)
    assert lines[:2] == [
        "TASK           compositional_grounding",
        "METRIC         iou_accuracy_at_half",
    ]
    assert lines[6] == "" and len(lines) == 13


def test_wide_letters_and_marks_keep_columns_in_line():
    lines = table_lines(("a", "b"), [("日本", "x"), ("e\u0301te", "x"), ("four", "x")])
    assert [screen_width(line) for line in lines] == [7, 7, 7, 7]


@given(st.lists(st.tuples(cells, cells, cells), max_size=4), st.integers(20, 90))
def test_every_word_is_shown_whole_and_in_its_order(rows, width):
    lines = table_lines(("a", "b", "c"), rows, width)
    shown = " ".join(lines).split()
    assert all(word in shown for row in rows for cell in row for word in cell.split())
    widest = [max([1, *(len(word) for row in rows for word in row[k].split())]) for k in range(3)]
    if sum(widest) + 4 <= width:
        assert max(map(len, lines)) <= width
