"""Parquet, Hugging Face datasets, data frames and Arrow tables: types that text and files do not have."""

from __future__ import annotations

import datetime
import pickle
from pathlib import Path
from typing import Any

import pytest

from ofacore.data.sources import Source, SourceError, open_source
from ofacore.inspection import check_file
from ofacore.protocols import RowError

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
    data = datasets.Dataset.from_dict({"y": [1, 0, -1], "all": [[0, 1], [], [1]]}, features=features)
    expected = [{"y": "yes", "all": ["no", "yes"]}, {"y": "no", "all": []}, {"y": None, "all": ["yes"]}]
    data.to_parquet(tmp_path / "x.parquet")
    data.save_to_disk(tmp_path / "saved")
    for spec in (data, data.with_format("numpy"), tmp_path / "x.parquet", tmp_path / "saved"):
        source = open_source(spec)
        assert rows(source) == expected == rows(pickle.loads(pickle.dumps(source)))


def test_a_column_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    table = pyarrow.Table.from_arrays([pyarrow.array([1]), pyarrow.array([2])], ["y", "y"])
    for spec in (parquet(tmp_path / "x.parquet", table), pandas.DataFrame([[1, 2]], columns=["y", "y"])):
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
    from ofacore.config.schema import DataConfig

    table = pyarrow.table(
        {
            "date": [datetime.date(2024, 1, 2)], "time": [datetime.datetime(2024, 1, 2, 3, 4, 5)],
            "price": pyarrow.array(["1.50"]).cast(pyarrow.decimal128(5, 2)), "flag": [True], "raw": [b"ab"],
        }
    )  # fmt: skip
    path = parquet(tmp_path / "x.parquet", table)
    (seen,) = check_file(path, "[TEXT:date] [TEXT:time] -> [TEXT:price]").seen
    texts = [slot.html for slot in seen.slots]
    assert all(text in html for text, html in zip(("2024-01-02", "2024-01-02T03:04:05", "1.50"), texts, strict=True))
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
    with pytest.raises(SourceError, match=r"the folder holds tables, .* give '.*/\*.parquet' as the data"):
        open_source(tmp_path)
    assert rows(open_source(tmp_path / "*.parquet")) == [{"a": "a"}, {"a": "b"}]


def test_a_picture_of_bytes_and_path_is_read(tmp_path: Path) -> None:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    (tmp_path / "here.png").write_bytes(buffer.getvalue())
    pictures = [{"bytes": buffer.getvalue(), "path": "gone.png"}, {"bytes": None, "path": "here.png"}]
    path = parquet(tmp_path / "x.parquet", pyarrow.table({"img": pictures, "y": ["a", "b"]}))
    report = check_file(path, "[IMAGE:img,size=16] -> [TEXT:y]")
    assert report.ok and all("<img" in row.slots[0].html for row in report.seen)
