"""Every format gives the same rows; indexes are reused and renewed; errors name the place and the way out."""

import io
import json
import os
import pickle
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofacore.config.task_section import DataConfig
from ofacore.protocols import RowError
from ofacore.sources import ConcatSource, ListSource, ReplayedRows, SourceError, open_source
from ofacore.sources.offsets import cached_index


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    """Index files of the tests do not end up with those of the user."""
    monkeypatch.setenv("OFA_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


ROWS = [
    {"a": "plain", "b": "1"},
    {"a": "naïve “ü” 🦊\u2028", "b": 'say "hi", you'},
    {"a": "two\nlines\r\nthree", "b": '"'},
    {"a": "", "b": "tab\tinside"},
    {"a": "x" * 300_000, "b": "after a huge field"},
    {"a": 'a" quote inside', "b": " blank "},
]


def as_delimited(rows, delimiter, header=True):
    def field(value):
        special = any(mark in value for mark in (delimiter, "\n", "\r", '"'))
        return '"' + value.replace('"', '""') + '"' if special else value

    lines = [delimiter.join(rows[0])] if header else []
    return "\n".join([*lines, *(delimiter.join(map(field, row.values())) for row in rows)]) + "\n"


def write_parquet(path):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path, row_group_size=2)
    return path


def write_dataset(path):
    from datasets import Dataset

    Dataset.from_list(ROWS).save_to_disk(path)
    return path


def write_tar(path, rows=ROWS):
    with tarfile.open(path, "w") as archive:
        for number, row in enumerate(rows):
            for key, value in row.items():
                member = tarfile.TarInfo(f"{'long/' * 30}{number:04d}.{key}.txt")
                member.size = len(value.encode())
                archive.addfile(member, io.BytesIO(value.encode()))
    return path


class MapStyle:
    def __len__(self):
        return len(ROWS)

    def __getitem__(self, index):
        return ROWS[index]


def text(path, content):
    path.write_bytes(content.encode())
    return path


def as_bytes(path, content):
    path.write_bytes(content)
    return path


FORMATS = {
    "csv": lambda folder: text(folder / "x.csv", as_delimited(ROWS, ",")),
    "csv with byte order mark": lambda folder: text(
        folder / "x.csv", "\ufeff" + as_delimited(ROWS, ",")
    ),
    "csv with carriage returns": lambda folder: text(
        folder / "x.csv", "a,b\r\n" + as_delimited(ROWS, ",", False).replace(",1\n", ",1\r\n")
    ),
    "csv with empty lines": lambda folder: text(
        folder / "x.csv", "\n" + as_delimited(ROWS, ",").replace("\nplain", "\n\n\nplain")
    ),
    "csv without last line break": lambda folder: text(
        folder / "x.csv", as_delimited(ROWS, ",").rstrip("\n")
    ),
    "csv in UTF-16": lambda folder: as_bytes(
        folder / "x.csv", as_delimited(ROWS, ",").encode("utf-16")
    ),
    "jsonl": lambda folder: text(
        folder / "x.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS)
    ),
    "jsonl with blank lines": lambda folder: text(
        folder / "x.jsonl", "\n \n".join(json.dumps(r, ensure_ascii=False) for r in ROWS)
    ),
    "json": lambda folder: text(folder / "x.json", json.dumps(ROWS)),
    "folder": lambda folder: text(folder / "metadata.csv", as_delimited(ROWS, ",")).parent,
    "parquet": lambda folder: write_parquet(folder / "x.parquet"),
    "datasets on disk": lambda folder: write_dataset(folder / "saved"),
    "list": lambda folder: ROWS,
    "torch dataset": lambda folder: MapStyle(),
    "replayed": lambda folder: ReplayedRows(lambda: iter(ROWS), len(ROWS)),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows(name, tmp_path):
    source = open_source(FORMATS[name](tmp_path))
    order = [5, 0, 3, 3, 1, 4, 2]
    assert len(source) == len(ROWS)
    assert [source[index] for index in order] == [ROWS[index] for index in order]
    assert source.columns == ("a", "b")
    with pytest.raises(IndexError):
        source[len(ROWS)]


@pytest.mark.parametrize(
    "name", ["csv", "jsonl", "parquet", "datasets on disk", "folder", "torch dataset"]
)
def test_a_source_travels_to_another_process(name, tmp_path):
    source = open_source(FORMATS[name](tmp_path))
    assert source[1] == ROWS[1]
    copy = pickle.loads(pickle.dumps(source))
    assert [copy[index] for index in range(len(copy))] == ROWS


def test_webdataset_members_with_one_key_are_a_row(tmp_path):
    source = open_source(str(write_tar(tmp_path / "x-000.tar")))
    assert len(source) == len(ROWS)
    for index in (4, 1, 2):
        row = source[index]
        assert {"a": row["a.txt"], "b": row["b.txt"]} == ROWS[index]
        assert row["__key__"].endswith(f"{index:04d}") and source.name(index).endswith(
            row["__key__"]
        )


def test_shards_and_lists_of_files_are_joined(tmp_path):
    for number in range(3):
        write_tar(tmp_path / f"s-{number}.tar", ROWS[number : number + 2])
    source = open_source(tmp_path / "s-*.tar")
    assert [source[i]["b.txt"] for i in range(len(source))] == [
        ROWS[i]["b"] for i in (0, 1, 1, 2, 2, 3)
    ]
    joined = open_source([str(tmp_path / "s-1.tar"), str(tmp_path / "s-0.tar")])
    assert isinstance(joined, ConcatSource) and joined[2]["b.txt"] == ROWS[0]["b"]
    assert joined.name(2).startswith(str(tmp_path / "s-0.tar"))


def test_a_compressed_shard_is_refused_with_the_way_out(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w:gz"):
        pass
    with pytest.raises(SourceError, match="gunzip"):
        open_source(tmp_path / "x.tar")


fields = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@given(st.lists(st.tuples(fields, fields, fields), min_size=1, max_size=6), st.sampled_from(",\t"))
def test_any_text_survives_csv_and_tsv(tmp_path_factory, rows, delimiter):
    names = ("first", "second", "third")
    table = [dict(zip(names, row, strict=True)) for row in rows]
    path = tmp_path_factory.mktemp("any") / ("x.csv" if delimiter == "," else "x.tsv")
    source = open_source(text(path, as_delimited(table, delimiter)), DataConfig(quoting="csv"))
    assert [source[index] for index in range(len(source))] == table


def test_names_for_a_file_without_header(tmp_path):
    path = text(tmp_path / "x.tsv", as_delimited(ROWS, "\t", header=False))
    source = open_source(path, DataConfig(header=False, names=("a", "b"), quoting="csv"))
    assert [source[i] for i in range(len(source))] == ROWS
    with pytest.raises(SourceError, match="names are given, but the first line names the columns"):
        open_source(path, DataConfig(names=("a", "b")))
    with pytest.raises(SourceError, match="names"):
        open_source(path, DataConfig(header=False))


def test_names_of_rows_are_lines_of_the_file(tmp_path):
    path = text(tmp_path / "x.csv", 'a,b\n1,2\n\n"3\n3",4\n5,6\n')
    assert [open_source(path).name(i) for i in range(3)] == [f"{path}:{line}" for line in (2, 4, 6)]
    path = text(tmp_path / "x.jsonl", '{"a": 1}\n\n{"a": 2}\n')
    assert open_source(path).name(1) == f"{path}:3"


@pytest.mark.parametrize(
    ("content", "place", "words"),
    [
        ("a,b\n1,2\n1,2,3\n", 1, ("x.csv:3", "3 fields", "2 columns")),
        ("a,b\n1\n", 0, ("x.csv:2", "1 fields")),
    ],
)
def test_a_line_with_other_fields_is_a_bad_row_alone(tmp_path, content, place, words):
    source = open_source(text(tmp_path / "x.csv", content))
    with pytest.raises(RowError) as caught:
        source[place]
    assert all(word in str(caught.value) for word in words)


def test_bad_bytes_and_bad_json_are_bad_rows(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"a,b\nok,ok\n\xff\xfe,2\n")
    source = open_source(tmp_path / "x.csv")
    assert source[0] == {"a": "ok", "b": "ok"}
    with pytest.raises(RowError, match=r"x.csv:3: not UTF-8"):
        source[1]
    source = open_source(text(tmp_path / "x.jsonl", '{"a": 1}\n{broken\n[1]\n'))
    for index, words in ((1, "x.jsonl:2: not JSON"), (2, "x.jsonl:3: a list")):
        with pytest.raises(RowError, match=words):
            source[index]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.csv", 'a,b\n1,2\n"open,3\n4,5\n', "x.csv:3: a quoted field begins here and never ends"),
        ("x.csv", "a,a\n1,2\n", "occurs twice"),
        ("x.csv", "", "empty"),
        ("x.json", '{"a": 1}', "array of objects"),
        ("x.txt", "hello", "set format"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path, name, content, words):
    with pytest.raises(SourceError, match=words):
        open_source(text(tmp_path / name, content))


def test_a_missing_file_names_its_neighbours(tmp_path):
    text(tmp_path / "train.csv", "a\n1\n")
    with pytest.raises(SourceError, match=r"train.cvs; did you mean train.csv"):
        open_source(tmp_path / "train.cvs")
    with pytest.raises(SourceError, match="no folder"):
        open_source(tmp_path / "nowhere" / "train.csv")


def test_an_iterable_without_random_access_is_refused_with_ways_out():
    with pytest.raises(SourceError, match=r"list\(rows\).*ReplayedRows"):
        open_source(row for row in ROWS)
    short = ReplayedRows(lambda: iter(ROWS[:2]), 3)
    with pytest.raises(RowError, match="ended after 2 of 3"):
        short[2]


def test_a_dataset_dictionary_needs_the_split():
    from datasets import Dataset, DatasetDict

    both = DatasetDict(train=Dataset.from_list(ROWS), validation=Dataset.from_list(ROWS[:1]))
    assert len(open_source(both)) == len(ROWS) and len(open_source(both, split="valid")) == 1
    with pytest.raises(SourceError, match="no split 'test'; it has train, validation"):
        open_source(both, split="test")


def test_files_of_a_folder_get_their_path(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "cat.png").write_bytes(b"x")
    text(tmp_path / "metadata.csv", "file_name,cap\npictures/cat.png,a cat.\npictures/cta.png,no\n")
    source = open_source(tmp_path)
    assert source[0] == {"file_name": str(tmp_path / "pictures" / "cat.png"), "cap": "a cat."}
    with pytest.raises(RowError, match="did you mean cat.png"):
        source[1]


def test_a_folder_without_table_is_labelled_by_its_folders(tmp_path):
    for name in ("cat/1.png", "dog/2.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    source = open_source(tmp_path)
    assert [(source[i]["label"], os.path.basename(source[i]["file_name"])) for i in (0, 1)] == [
        ("cat", "1.png"),
        ("dog", "2.png"),
    ]


def test_an_index_is_stored_once_and_renewed_with_its_file(tmp_path, monkeypatch):
    monkeypatch.setenv("OFA_CACHE", str(tmp_path / "cache"))
    path, built = text(tmp_path / "x", "one"), []

    def index():
        return cached_index(
            path, "t", lambda: built.append(1) or np.array([[len(built), 7, 8]]), min_bytes=0
        )

    assert index().tolist() == index().tolist() == [[1, 7, 8]] and len(built) == 1
    text(path, "longer")
    assert index().tolist() == [[2, 7, 8]]
    (stored,) = (tmp_path / "cache").rglob("x.t.*")
    stored.write_bytes(b"broken")
    assert index().tolist() == [[3, 7, 8]]
    assert {entry.name for entry in tmp_path.iterdir()} == {"x", "cache"}


def test_where_the_cache_is_closed_a_file_is_indexed_each_time(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("OFA_CACHE", str(tmp_path / "file" / "is no folder"))
    path = text(tmp_path / "x", "one")
    for number in (1, 9):
        made = np.array([[number]])
        assert cached_index(path, "t", lambda made=made: made, min_bytes=0).tolist() == [[number]]


def test_a_row_must_be_a_dictionary():
    with pytest.raises(RowError, match=r"rows\[0\]: a tuple"):
        ListSource([(1, 2)])[0]


@pytest.fixture
def shuffled_parquet(tmp_path, monkeypatch):
    """A file of 30 groups, two rows each, of which hardly one is kept in memory."""
    import pyarrow
    import pyarrow.parquet

    from ofacore.sources import parquet

    rows = [{"a": f"row {number}", "b": [number, None], "c": b"x" * number} for number in range(60)]
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist(rows), tmp_path / "x.parquet", row_group_size=2
    )
    monkeypatch.setattr(parquet, "_KEPT_BYTES", 1)
    monkeypatch.setenv("OFA_CACHE", str(tmp_path / "cache"))
    return rows, tmp_path / "x.parquet"


def test_parquet_read_in_a_shuffled_order_is_unpacked_once(shuffled_parquet, tmp_path):
    rows, path = shuffled_parquet
    source = open_source(path)
    assert [source[i] for i in range(60)] == rows and not (tmp_path / "cache").exists()
    order = np.random.default_rng(0).permutation(60)
    assert [source[int(i)] for i in order] == [rows[i] for i in order]
    (copy,) = (tmp_path / "cache" / "unpacked").iterdir()
    assert [source[int(i)] for i in order] == [rows[i] for i in order]
    again = pickle.loads(pickle.dumps(source))
    written = copy.stat().st_mtime_ns
    assert [again[int(i)] for i in (*order, *order)] == [rows[i] for i in (*order, *order)]
    assert (
        [copy.stat().st_mtime_ns]
        == [file.stat().st_mtime_ns for file in copy.parent.iterdir()]
        == [written]
    )


def test_parquet_is_read_without_its_copy_where_there_is_no_room(
    shuffled_parquet, tmp_path, monkeypatch
):
    from ofacore.sources import unpacked

    rows, path = shuffled_parquet
    monkeypatch.setattr(unpacked.shutil, "disk_usage", lambda place: SimpleNamespace(free=0))
    order = np.random.default_rng(0).permutation(60)
    source = open_source(path)
    assert [source[int(i)] for i in (*order, *order)] == [rows[i] for i in (*order, *order)]
    assert not list((tmp_path / "cache" / "unpacked").iterdir())


def test_a_damaged_row_group_is_a_bad_row(tmp_path):
    import pyarrow
    import pyarrow.parquet

    texts = [{"a": f"{number} " * 50} for number in range(40)]
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist(texts), tmp_path / "x.parquet", row_group_size=20
    )
    content = bytearray((tmp_path / "x.parquet").read_bytes())
    content[4:200] = b"\xff" * 196
    (tmp_path / "x.parquet").write_bytes(bytes(content))
    source = open_source(tmp_path / "x.parquet")
    with pytest.raises(RowError, match=r"x.parquet\[3\]: row group 0 cannot be read"):
        source[3]
    assert source[25] == texts[25]


def test_another_delimiter_is_set_by_key(tmp_path):
    (tmp_path / "x.csv").write_text("a;b\n1,5;x\n")
    assert open_source(tmp_path / "x.csv", DataConfig(delimiter=";"))[0] == {"a": "1,5", "b": "x"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"caf\xe9,b\nx,y\n", "x.csv:1: not UTF-8 .* save it as UTF-8"),
        ("a,b\nx,y\n".encode("utf-16-le"), "x.csv:1: no text, it holds zero bytes; set encoding"),
        (bytes(300), "no text, it holds zero bytes"),
    ],
)
def test_a_header_that_is_no_text_cannot_be_opened(tmp_path, content, said):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(SourceError, match=said):
        open_source(tmp_path / "x.csv")


def test_columns_of_a_shard_are_those_of_many_rows(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in ("0.txt", "1.txt", "1.json"):
            member = tarfile.TarInfo(name)
            member.size = 2
            archive.addfile(member, io.BytesIO(b"{}"))
    assert open_source(tmp_path / "x.tar").columns == ("__key__", "txt", "json")
    content = (tmp_path / "x.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[:700])
    with pytest.raises(SourceError, match="it is cut off, fetch it again"):
        open_source(tmp_path / "cut.tar")


def test_an_iterable_gives_every_thread_the_row_that_it_asks_for():
    def start():
        for number in range(2000):
            time.sleep(0)
            yield {"number": number}

    source = ReplayedRows(start, 2000)

    def wrong(first):
        return [n for n in range(first, 2000, 4) if source[n] != {"number": n}]

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(wrong, range(4))) == [[]] * 4
    again = pickle.loads(pickle.dumps(ReplayedRows(_numbers, 3)))
    assert again[2] == {"number": 2}


def _numbers():
    return ({"number": number} for number in range(3))
