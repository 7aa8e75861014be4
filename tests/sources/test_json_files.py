"""JSON as people leave it: over several lines, as one array, nested without end, with a name twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ofacore.config.task_section import DataConfig
from ofacore.protocols import RowError
from ofacore.sources import SourceError, open_source

PRETTY = '{\n  "a": "x"\n}\n{\n  "a": "y"\n}\n'


@pytest.mark.parametrize(
    "content",
    [PRETTY, '{"a": "x"}\n{"a": "y"}\n', '[{"a": "x"},\n{"a": "y"}]', '{"a":"x"}{"a":"y"}'],
)
def test_a_json_file_holds_an_array_or_objects_one_behind_another(
    tmp_path: Path, content: str
) -> None:
    (tmp_path / "x.json").write_text(content)
    source = open_source(tmp_path / "x.json")
    assert [source[index] for index in range(len(source))] == [{"a": "x"}, {"a": "y"}]


@pytest.mark.parametrize("content", [PRETTY, '[\n{"a": "x"}\n]\n', '[{"a":\n"x"}]'])
def test_json_lines_over_several_lines_are_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.jsonl").write_text(content)
    with pytest.raises((SourceError, RowError), match=r"x.jsonl:1: .*set format: json"):
        open_source(tmp_path / "x.jsonl")[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"version": 1, "data": [{"a": 1}]}', "save what its name 'data' holds"),
        ('{"a": 1}', "if the object is the only row, set format: jsonl"),
        ('[{"a": 1}, [2]]', r"but it holds \[2\]"),
        ("[" * 100_000, "nested too deep"),
        ('[{"a": 1}, {"a": 1', "not JSON: "),
        ('[{"a": 1, "a": 2}]', "the name 'a' occurs twice in one object"),
        ("   ", "the file is empty"),
    ],
)
def test_a_json_file_of_another_form_is_told(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(SourceError, match=said):
        open_source(tmp_path / "x.json")


def test_a_line_nested_without_end_is_one_bad_row(tmp_path: Path) -> None:
    deep = '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"
    (tmp_path / "x.jsonl").write_text(f'{{"a": "x"}}\n{deep}\n{{"a": 1, "a": 2}}\n{{"a": "y"}}\n')
    source = open_source(tmp_path / "x.jsonl")
    assert (source[0], source[3]) == ({"a": "x"}, {"a": "y"})
    with pytest.raises(RowError, match="x.jsonl:2: not JSON: lists or objects are nested too deep"):
        source[1]
    with pytest.raises(RowError, match="x.jsonl:3: not JSON: the name 'a' occurs twice"):
        source[2]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"a": 1},\n{"a": 2},\n', r"x.jsonl:1: a comma follows the object.*take the commas out"),
        (
            '{"a": 1},\n{"a": 2}\n',
            r"x.jsonl:1: not JSON: Extra data.*; each line must hold one whole object and no comma",
        ),
        (
            '{"a": 1}{"a": 2}\n{"a": 3}\n',
            r"x.jsonl:1: not JSON: .*; if several stand in one, set format: json",
        ),
        (
            f'{{"a": {"9" * 5000}}}\n',
            r"x.jsonl:1: not JSON: a whole number has too many digits; write it as text",
        ),
    ],
)
def test_a_line_that_holds_more_or_less_than_one_object(
    tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "x.jsonl").write_text(content)
    with pytest.raises((SourceError, RowError), match=said) as caught:
        open_source(tmp_path / "x.jsonl")[0]
    assert len(str(caught.value)) < 400


def test_objects_in_one_line_are_read_as_advised(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"a": 1}{"a": 2}\n{"a": 3}\n')
    source = open_source(tmp_path / "x.jsonl", DataConfig(format="json"))
    assert [source[index]["a"] for index in range(len(source))] == [1, 2, 3]


@pytest.mark.parametrize("orient", ["columns", "list", "split", "records"])
def test_a_data_frame_written_by_columns_is_told(tmp_path: Path, orient: str) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"q": ["a", "b"], "y": ["c", "d"]})
    path = tmp_path / "x.json"
    path.write_text(
        json.dumps(frame.to_dict(orient="list"))
        if orient == "list"
        else frame.to_json(orient=orient)
    )
    if orient == "records":
        assert open_source(path)[1] == {"q": "b", "y": "d"}
        return
    with pytest.raises(
        SourceError, match=r"x.json: columns \(.*\), .*; write it by rows, .* orient='records'"
    ):
        open_source(path)
