"""Places inside of columns: dotted paths, numbers, lists of objects, absence, and names that are not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ofacore import Generalist, Task
from ofacore.config.task_section import DataConfig
from ofacore.encoding.columns import ColumnMap
from ofacore.encoding.nested import value_at
from ofacore.runs.inspection import check_file
from ofacore.sources.data_errors import ColumnError

ROW = {
    "answers": {"text": ["Ann", "Bo"], "start": []},
    "objects": [{"box": [0, 1], "name": "cat"}, {"box": [2, 3], "name": "dog"}],
    "a.b": "own name",
    "a": {"b": "inside", "c": {"0": "key"}},
    "n": None,
    "x.y": {"z": 5},
}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("answers.text", ["Ann", "Bo"]),
        ("answers.text.0", "Ann"),
        ("answers.text[1]", "Bo"),
        ("answers.text.-1", "Bo"),
        ("answers.text.7", None),
        ("answers.start.0", None),
        ("objects.name", ["cat", "dog"]),
        ("objects.1.box", [2, 3]),
        ("objects[0].box[1]", 1),
        ("objects.box.1", [2, 3]),
        ("a.b", "own name"),
        ("a.c.0", "key"),
        ("n.deep.er", None),
        ("x.y.z", 5),
    ],
)
def test_a_path_leads_into_objects_and_lists(column: str, value: object) -> None:
    assert value_at(ROW, column) == value


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("answers.txt", "'answers' has no 'txt'; did you mean 'text'?"),
        ("objects.nam", "'objects' has no 'nam'; did you mean 'name'?"),
        ("answers.text.0.first", "'answers.text.0' is 'Ann', which has no 'first' inside"),
    ],
)
def test_a_path_that_leads_nowhere_is_told(column: str, said: str) -> None:
    with pytest.raises(ColumnError) as caught:
        value_at(ROW, column)
    assert said in str(caught.value)


def test_what_a_row_lacks_is_absent() -> None:
    columns = ColumnMap({"a": "meta.caption", "b": "other"})
    assert columns.apply({"meta": {}, "b": "not meant"}) == {"meta": {}, "a": None, "b": None}
    assert "'meta' has no 'caption'" in columns.missing("a", {"meta": {"x": 1}})
    assert columns.apply({"b": "given by its slot"}, partial=True) == {"b": "given by its slot"}


def test_a_slot_may_take_all_columns_that_nothing_else_reads(tmp_path: Path) -> None:
    rows = [{"size": n, "place": "", "meta": {"kind": "ab"[n % 2]}, "right": "x"} for n in range(9)]
    path = tmp_path / "wide.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = "[STRUCT:row] -> [TEXT:kind,closed_set]"
    data = DataConfig(columns={"row": "*", "kind": "meta.kind"}, empty="absent")
    report = check_file(path, text, data=data)
    assert report.ok and not report.notes
    task = Task(
        "t",
        text,
        train=str(path),
        columns={"row": "*", "kind": "meta.kind"},
        metrics=[{"metric": "accuracy", "slot": "kind", "references": "right"}],
    )
    model = Generalist.create(
        [task], preset="tiny", hidden=32, heads=2, encoder_layers=1, decoder_layers=1
    )
    columns = model.assembly.encoder(model.assembly.plans["t"]).columns
    assert columns.apply(rows[1])["row"] == {"size": 1, "place": ""}
    assert columns.apply({"row": {"size": 3}}, partial=True) == {"row": {"size": 3}}


def test_a_nested_column_of_a_wide_row_is_told_and_may_be_json_text(tmp_path: Path) -> None:
    path = tmp_path / "wide.jsonl"
    path.write_text(json.dumps({"size": 1, "meta": {"größe": [1, 2]}, "kind": "a"}) + "\n")
    text = "[STRUCT:row] -> [TEXT:kind]"
    report = check_file(path, text, data=DataConfig(columns={"row": "*"}))
    assert report.bad[0].reason.startswith("column 'row': 'meta': a dict of 1 is no cell")
    assert "'to_json'" in report.bad[0].reason
    transforms = {"meta": ("to_json",)}
    data = DataConfig(columns={"row": "*"}, transforms=transforms)
    assert check_file(path, text, data=data).ok


def test_optional_columns_may_come_late_and_needed_ones_are_told_with_the_way_out(
    tmp_path: Path,
) -> None:
    lines = [{"q": "who?", "answers": {"text": ["Ann"]}}] * 30
    lines += [{"q": "who?", "answers": {"text": ["Ann"]}, "hint": {"text": "a name"}}]
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = "[TEXT:q] (hint [TEXT:hint])? -> [TEXT:a]"
    columns = {"a": "answers.text.0", "hint": "hint.text"}
    report = check_file(path, text, data=DataConfig(columns=columns))
    assert report.ok and not report.notes
    (note,) = check_file(
        path, text, data=DataConfig(columns={**columns, "hint": "hunt.text"})
    ).notes
    assert note == "column 'hunt.text' has no value in any row"
    report = check_file(path, text, data=DataConfig(columns={**columns, "a": "answers.txt.0"}))
    assert len(report.bad) == 31 and "did you mean 'text'?" in report.bad[0].reason
    with pytest.raises(Exception, match="no column 'answer.text'.*did you mean 'answers'"):
        check_file(path, text, data=DataConfig(columns={**columns, "a": "answer.text"}))
