"""Parquet, Hugging Face datasets, data frames and Arrow tables: types that text and files do not have."""

from __future__ import annotations

import datetime
import pickle
from pathlib import Path
from typing import Any

import pytest

from ofacore.protocols import RowError
from ofacore.runs.inspection import check_file
from ofacore.sources import Source, SourceError, open_source

pyarrow = pytest.importorskip("pyarrow")
datasets = pytest.importorskip("datasets")
pandas = pytest.importorskip("pandas")


def rows(source: Source) -> list[dict[str, Any]]:
    return [source[index] for index in range(len(source))]


def parquet(path: Path, table: Any) -> Path:
    import pyarrow.parquet

    pyarrow.parquet.write_table(table, path)
    return path


def test_small_floats_are_the_shortest_numbers_that_read_back(tmp_path: Path) -> None:
    columns = {
        "single": pyarrow.array([0.1, None], pyarrow.float32()),
        "half": pyarrow.array([0.1, 0.2], pyarrow.float32()).cast(pyarrow.float16()),
        "list": pyarrow.array([[0.1, None], None], pyarrow.list_(pyarrow.float32())),
        "double": pyarrow.array([0.1, 1 / 3], pyarrow.float64()),
    }
    table = pyarrow.table(columns)
    expected = [
        {"single": 0.1, "half": 0.1, "list": [0.1, None], "double": 0.1},
        {"single": None, "half": 0.2, "list": None, "double": 1 / 3},
    ]
    source = open_source(parquet(tmp_path / "x.parquet", table))
    assert rows(source) == expected == rows(pickle.loads(pickle.dumps(source)))
    assert rows(open_source(table)) == expected
    assert rows(open_source(datasets.Dataset(table)))[0] == expected[0]


def test_classes_have_their_names(tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=["no", "yes"])
    features = datasets.Features({"y": names, "all": datasets.List(names)})
    data = datasets.Dataset.from_dict(
        {"y": [1, 0, -1], "all": [[0, 1], [], [1]]}, features=features
    )
    expected = [
        {"y": "yes", "all": ["no", "yes"]},
        {"y": "no", "all": []},
        {"y": None, "all": ["yes"]},
    ]
    data.to_parquet(tmp_path / "x.parquet")
    data.save_to_disk(tmp_path / "saved")
    for spec in (data, data.with_format("numpy"), tmp_path / "x.parquet", tmp_path / "saved"):
        source = open_source(spec)
        assert rows(source) == expected == rows(pickle.loads(pickle.dumps(source)))


def test_a_column_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    table = pyarrow.Table.from_arrays([pyarrow.array([1]), pyarrow.array([2])], ["y", "y"])
    for spec in (
        parquet(tmp_path / "x.parquet", table),
        pandas.DataFrame([[1, 2]], columns=["y", "y"]),
    ):
        with pytest.raises(SourceError, match="'y' (occurs )?twice"):
            open_source(spec)


def test_what_pandas_takes_for_missing_is_absent() -> None:
    frame = pandas.DataFrame(
        {
            "text": ["h", None, float("nan")],
            "number": pandas.array([1, None, 3], dtype="Int64"),
            "time": pandas.to_datetime(["2024-01-02", None, None]),
            "list": [[1], None, [float("inf")]],
        },
        index=[5, 5, 5],
    )
    source = open_source(frame)
    assert rows(source)[1] == {"text": None, "number": None, "time": None, "list": None}
    assert source[2] == {"text": None, "number": 3, "time": None, "list": [float("inf")]}
    assert source[0]["time"].isoformat() == "2024-01-02T00:00:00"


def test_dates_and_decimals_are_text_and_truth_values_need_a_transform(tmp_path: Path) -> None:
    from ofacore.config.task_section import DataConfig

    table = pyarrow.table(
        {
            "date": [datetime.date(2024, 1, 2)],
            "time": [datetime.datetime(2024, 1, 2, 3, 4, 5)],
            "price": pyarrow.array(["1.50"]).cast(pyarrow.decimal128(5, 2)),
            "flag": [True],
            "raw": [b"ab"],
        }
    )
    path = parquet(tmp_path / "x.parquet", table)
    (seen,) = check_file(path, "[TEXT:date] [TEXT:time] -> [TEXT:price]").seen
    texts = [slot.html for slot in seen.slots]
    assert all(
        text in html
        for text, html in zip(("2024-01-02", "2024-01-02T03:04:05", "1.50"), texts, strict=True)
    )
    (bad,) = check_file(path, "[TEXT:date] -> [TEXT:flag]").bad
    assert "got bool True; the transform 'text' makes it text" in bad.reason
    given = DataConfig(transforms={"flag": ("text",), "raw": ("text",)})
    (seen,) = check_file(path, "[TEXT:raw] -> [TEXT:flag]", data=given).seen
    assert ["ab" in seen.slots[0].html, "true" in seen.slots[1].html] == [True, True]


def test_a_value_that_python_cannot_hold_is_one_bad_row(tmp_path: Path) -> None:
    far = pyarrow.array([300_000_000, 1], pyarrow.int32()).cast(pyarrow.date32())
    source = open_source(parquet(tmp_path / "x.parquet", pyarrow.table({"a": far})))
    with pytest.raises(RowError, match=r"x.parquet\[0\]: a value cannot be read"):
        source[0]
    assert source[1] == {"a": datetime.date(1970, 1, 2)}


def test_a_folder_of_tables_is_no_folder_of_pictures(tmp_path: Path) -> None:
    for name in ("a", "b"):
        parquet(tmp_path / f"{name}.parquet", pyarrow.table({"a": [name]}))
    with pytest.raises(
        SourceError, match=r"the folder holds tables, .* give '.*/\*.parquet' as the data"
    ):
        open_source(tmp_path)
    assert rows(open_source(tmp_path / "*.parquet")) == [{"a": "a"}, {"a": "b"}]


def test_a_picture_of_bytes_and_path_is_read(tmp_path: Path) -> None:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    (tmp_path / "here.png").write_bytes(buffer.getvalue())
    pictures = [
        {"bytes": buffer.getvalue(), "path": "gone.png"},
        {"bytes": None, "path": "here.png"},
    ]
    path = parquet(tmp_path / "x.parquet", pyarrow.table({"img": pictures, "y": ["a", "b"]}))
    report = check_file(path, "[IMAGE:img,size=16] -> [TEXT:y]")
    assert report.ok and all("<img" in row.slots[0].html for row in report.seen)


def test_small_floats_and_classes_inside_of_other_columns(tmp_path: Path) -> None:
    single = pyarrow.float32()
    columns = {
        "pair": pyarrow.array([[0.1, 0.2]], pyarrow.list_(single, 2)),
        "object": pyarrow.array([{"a": 0.1, "b": [{"c": 0.2}]}]),
        "deep": pyarrow.array(
            [{"a": 0.1, "b": [{"c": 0.2}, None]}],
            pyarrow.struct([("a", single), ("b", pyarrow.list_(pyarrow.struct([("c", single)])))]),
        ),
    }
    (row,) = rows(open_source(parquet(tmp_path / "x.parquet", pyarrow.table(columns))))
    assert row["pair"] == [0.1, 0.2] and row["object"] == {"a": 0.1, "b": [{"c": 0.2}]}
    assert row["deep"] == {"a": 0.1, "b": [{"c": 0.2}, None]}
    names = datasets.ClassLabel(names=["cat", "dog"])
    kinds = {
        "objects": {"box": datasets.List(datasets.Value("int64")), "kind": names},
        "all": datasets.List({"k": names}),
    }
    data = datasets.Dataset.from_dict(
        {"objects": [{"box": [1], "kind": 1}], "all": [[{"k": 0}, {"k": 1}]]},
        features=datasets.Features(kinds),
    )
    data.to_parquet(tmp_path / "y.parquet")
    for spec in (data, tmp_path / "y.parquet"):
        assert rows(open_source(spec)) == [
            {"objects": {"box": [1], "kind": "dog"}, "all": [{"k": "cat"}, {"k": "dog"}]}
        ]


def test_a_map_is_an_object(tmp_path: Path) -> None:
    from ofacore.config.task_section import DataConfig

    kind = pyarrow.map_(pyarrow.string(), pyarrow.float32())
    table = pyarrow.table(
        {"q": pyarrow.array([[("k", 0.1)], [("k", None)], None], kind), "y": ["a", "b", "c"]}
    )
    path = parquet(tmp_path / "x.parquet", table)
    assert [row["q"] for row in rows(open_source(path))] == [{"k": 0.1}, {"k": None}, None]
    report = check_file(path, "[TEXT:n] -> [TEXT:y]", data=DataConfig(columns={"n": "q.k"}))
    assert "0.1" in report.seen[0].slots[0].html and len(report.bad) == 2
    twice = pyarrow.array([[("k", 0.1), ("k", 0.2)]], kind)
    with pytest.raises(
        RowError, match=r"x.parquet\[0\], column 'q': the map holds the key 'k' twice"
    ):
        open_source(parquet(path, pyarrow.table({"q": twice})))[0]


def test_a_tensor_keeps_its_shape(tmp_path: Path) -> None:
    flat = pyarrow.array([[1, 2, 3, 4, 5, 6]], pyarrow.list_(pyarrow.float32(), 6))
    column = pyarrow.ExtensionArray.from_storage(
        pyarrow.fixed_shape_tensor(pyarrow.float32(), (2, 3)), flat
    )
    source = open_source(parquet(tmp_path / "x.parquet", pyarrow.table({"clip": column})))
    assert source[0]["clip"].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_folders_of_a_partitioned_table_are_columns(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"q": ["a", "b", "c"], "y": ["x y/z", "no", None]})
    frame.to_parquet(tmp_path / "table", partition_cols=["y"], index=False)
    (tmp_path / "table" / "_SUCCESS").touch()
    with pytest.raises(
        SourceError, match=r"holds tables, .* give '.*/\*\*/\*.parquet' as the data"
    ):
        open_source(tmp_path / "table")
    source = open_source(tmp_path / "table" / "**" / "*.parquet")
    assert source.columns == ("q", "y")
    assert {row["q"]: row["y"] for row in rows(source)} == {"a": "x y/z", "b": "no", "c": None}
    assert rows(pickle.loads(pickle.dumps(source))) == rows(source)
    assert len(check_file(tmp_path / "table" / "**" / "*.parquet", "[TEXT:q] -> [TEXT:y]").bad) == 1


def test_folders_that_other_programs_write(tmp_path: Path) -> None:
    parquet(tmp_path / "part-0.parquet", pyarrow.table({"q": ["a"]}))
    (tmp_path / "_SUCCESS").touch()
    with pytest.raises(
        SourceError, match=r"the folder holds tables, such as part-0.parquet; give '.*/\*.parquet'"
    ):
        open_source(tmp_path)
    assert rows(open_source(tmp_path / "*.parquet")) == [{"q": "a"}]
    with pytest.raises(SourceError, match="_SUCCESS: .* name the tables alone, as in 'folder/"):
        open_source(tmp_path / "**")
    (tmp_path / "_delta_log").mkdir()
    with pytest.raises(
        SourceError, match="the folder is a Delta table; only its log says which files count"
    ):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [("x.arrow", "save_to_disk"), ("x.pkl", "may run code"), ("x.h5", "write it as Parquet")],
)
def test_other_formats_have_a_way_out(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).write_bytes(b"?")
    with pytest.raises(SourceError, match=said):
        open_source(tmp_path / name)


def test_an_unknown_time_zone_is_one_bad_row_with_a_way_out(tmp_path: Path) -> None:
    column = pyarrow.array([1, None], pyarrow.timestamp("us", "Mars/Base"))
    source = open_source(parquet(tmp_path / "x.parquet", pyarrow.table({"a": column})))
    with pytest.raises(
        RowError,
        match=r"x.parquet\[0\]: .* its time zone is not known here; install the package tzdata",
    ):
        source[0]


def test_durations_and_uuids_need_a_transform(tmp_path: Path) -> None:
    import uuid

    from ofacore.config.task_section import DataConfig

    table = pyarrow.table({"q": pyarrow.array([86400], pyarrow.duration("s")), "y": ["a"]})
    path = parquet(tmp_path / "x.parquet", table)
    assert (
        "the transform 'text' makes it text"
        in check_file(path, "[TEXT:q] -> [TEXT:y]").bad[0].reason
    )
    given = DataConfig(transforms={"q": ("text",)})
    assert (
        "1 day, 0:00:00"
        in check_file(path, "[TEXT:q] -> [TEXT:y]", data=given).seen[0].slots[0].html
    )
    from ofacore.components.transforms import text

    assert text(uuid.UUID(int=1)) == "00000000-0000-0000-0000-000000000001"
