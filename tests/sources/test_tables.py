"""Tables as people export them: quoting, separators, encodings, nameless columns, what an empty field means."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from ofacore.config import read_data
from ofacore.config.task_section import DataConfig
from ofacore.protocols import RowError
from ofacore.runs.inspection import check_file
from ofacore.sources import Source, SourceError, notes_of, open_source
from ofacore.sources.offsets import MIN_BYTES

QUOTES = 'text\tlabel\na plain line\t1\n"When will it rain, asked one\t2\na third line\t3\nthe "quoted" word\t4\n'


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFA_CACHE", str(tmp_path_factory.mktemp("cache")))


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows(source: Source) -> list[dict[str, Any]]:
    return [source[index] for index in range(len(source))]


def test_tsv_knows_no_quoting_unless_told(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tsv", QUOTES)
    assert [row["text"] for row in rows(open_source(path))] == [
        "a plain line",
        '"When will it rain, asked one',
        "a third line",
        'the "quoted" word',
    ]
    quoted = open_source(path, DataConfig(quoting="csv"))
    with pytest.raises(
        RowError, match=r"x.tsv:3: a quoted field begins here, closes 2 lines below and is followed"
    ):
        quoted[1]
    assert notes_of(open_source(path)) == ()


def test_a_tsv_that_was_written_with_quoting_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tsv", 'text\tlabel\n"a ""b"""\t1\n"two\nlines"\t2\n')
    assert "quoting: csv" in notes_of(open_source(path))[0]
    with pytest.raises(
        RowError, match=r"x.tsv:3: 1 fields.*if its fields are quoted, set quoting: csv"
    ):
        open_source(path)[1]
    assert [row["text"] for row in rows(open_source(path, DataConfig(quoting="csv")))] == [
        'a "b"',
        "two\nlines",
    ]


def test_csv_may_be_told_that_it_knows_no_quoting(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", 'a,b\n"lone,1\n2" nails,3\n')
    with pytest.raises(RowError, match=r"x.csv:2: .* set quoting: none"):
        open_source(path)[0]
    assert rows(open_source(path, DataConfig(quoting="none")))[0] == {"a": '"lone', "b": "1"}
    open_quote = written(tmp_path / "y.csv", 'a,b\n"open,1\n2,3\n')
    with pytest.raises(
        SourceError, match=r"y.csv:2: a quoted field begins here and never ends; .*quoting: none"
    ):
        open_source(open_quote)


def test_the_stored_index_belongs_to_a_way_of_quoting(tmp_path: Path) -> None:
    lines = MIN_BYTES // 4
    path = written(tmp_path / "x.csv", 'a,b\n"1\n2",3\n' + "4,5\n" * lines)
    plain, quoted = DataConfig(quoting="none"), DataConfig(quoting="csv")
    for _ in range(2):
        assert (
            len(open_source(path, plain)) == lines + 2
            and len(open_source(path, quoted)) == lines + 1
        )
        assert open_source(path, quoted)[0] == {"a": "1\n2", "b": "3"}
    assert pickle.loads(pickle.dumps(open_source(path, quoted)))[1] == {"a": "4", "b": "5"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.csv"]


@pytest.mark.parametrize("first", ["sep=;\n", '"sep=;"\r\n', "\ufeffsep=;\n"])
def test_the_first_line_of_a_spreadsheet_names_the_separator(tmp_path: Path, first: str) -> None:
    source = open_source(written(tmp_path / "x.csv", f"{first}word;plural\ncat;cats\n"))
    assert rows(source) == [{"word": "cat", "plural": "cats"}] and source.name(0).endswith(
        "x.csv:3"
    )
    fixed = open_source(
        written(tmp_path / "y.csv", f"{first}a,b;c\n1,2;3\n"), DataConfig(delimiter=",")
    )
    assert rows(fixed) == [{"a": "1", "b;c": "2;3"}]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (",word,plural\n0,cat,cats\n", 1),
        ("word,plural,\ncat,cats,\n", 1),
        ("word,plural,\ncat,cats\n", 1),
        ("word,plural\ncat,cats,,\n", 0),
    ],
)
def test_columns_without_a_name_are_left_out(tmp_path: Path, content: str, told: int) -> None:
    source = open_source(written(tmp_path / "x.csv", content))
    assert rows(source) == [{"word": "cat", "plural": "cats"}] and source.columns == (
        "word",
        "plural",
    )
    assert len(notes_of(source)) == told


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,2,3\n", "3 fields, but the file has 2 columns"),
        ("a,b\n1\n", "1 fields, but the file has 2 columns"),
        ("a,b\n1,2\na,b\n", "the line repeats the header"),
        ("a,b\n1,\0\0\n", "holds zero bytes"),
        (f"{','.join(f'column{n}' for n in range(5000))}\n1\n", "and 4980 more"),
    ],
)
def test_a_row_that_does_not_fit_is_told_on_one_screen(
    tmp_path: Path, content: str, said: str
) -> None:
    source = open_source(written(tmp_path / "x.csv", content))
    with pytest.raises(RowError, match=said) as caught:
        source[len(source) - 1]
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    ("encoding", "given"),
    [
        ("utf-16", ""),
        ("utf-32", ""),
        ("utf-8-sig", ""),
        ("cp1252", "cp1252"),
        ("utf-16-le", "utf-16-le"),
    ],
)
@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.json"])
def test_text_in_other_encodings(tmp_path: Path, encoding: str, given: str, name: str) -> None:
    text = {"x.csv": 'a,é\r\nx,"ü\r\n"\r\n', "x.json": '[{"a": "x", "é": "ü\\r\\n"}]'}
    path = written(tmp_path / name, text.get(name, '{"a": "x", "é": "ü\\r\\n"}\n').encode(encoding))
    source = open_source(path, DataConfig(encoding=given))
    assert rows(source) == [{"a": "x", "é": "ü\r\n"}] == rows(pickle.loads(pickle.dumps(source)))


def test_shift_jis_with_a_delimiter_among_its_bytes(tmp_path: Path) -> None:
    assert b"|" in "ポ".encode("shift_jis")
    path = written(tmp_path / "x.csv", "a|b\nポ|1\n".encode("shift_jis"))
    assert rows(open_source(path, DataConfig(encoding="shift_jis", delimiter="|"))) == [
        {"a": "ポ", "b": "1"}
    ]


def test_an_encoding_that_does_not_fit_is_told_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", b"a,b\nx,y\nx,\x81\n")
    with pytest.raises(SourceError, match=r"x.csv:3: not cp1252 .* at byte 10"):
        open_source(path, DataConfig(encoding="cp1252"))
    with pytest.raises(RowError, match=r"x.csv:3: not UTF-8 .*set encoding, such as cp1252"):
        open_source(path)[1]


def test_lines_that_end_with_a_carriage_return_alone(tmp_path: Path) -> None:
    assert rows(open_source(written(tmp_path / "x.csv", "a,b\rx,y\rz,w\r"))) == [
        {"a": "x", "b": "y"},
        {"a": "z", "b": "w"},
    ]


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.jsonl", "x.json", "x.parquet", "x.tar"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "a web page; download the file itself"),
        (b"PK\x03\x04 workbook", "a ZIP archive, as Excel workbooks are; save the table as CSV"),
        (b"\x28\xb5\x2f\xfd", "compressed by zstd; unpack it first"),
    ],
)
def test_a_file_of_another_kind_is_recognised(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    with pytest.raises(SourceError, match=said):
        open_source(written(tmp_path / name, content))


def test_an_empty_field_may_mean_absent(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", "a,b,c\n,,1\n")
    assert rows(open_source(path)) == [{"a": "", "b": "", "c": "1"}]
    assert rows(open_source(path, DataConfig(empty="absent"))) == [{"a": None, "b": None, "c": "1"}]
    some = DataConfig(empty={"a": "absent", "b": "text", "other": "absent"})
    assert rows(open_source(path, some)) == [{"a": None, "b": "", "c": "1"}]
    text = "[TEXT:c] (and [TEXT:a])? -> [TEXT:c]"
    (seen,) = check_file(path, text, data=read_data(["empty=absent"])).seen
    assert [slot.title for slot in seen.slots] == ["[TEXT:c]"]


def test_texts_that_are_all_empty_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report = check_file(written(tmp_path / "x.csv", "a,b\nx,\ny, \n"), "[TEXT:a] -> [TEXT:b]")
    assert (
        report.notes == ["column 'b' is the empty text in every row"]
        and report.notes[0] in report.text
    )
    assert "'b' is the empty text in all 2 training rows" in caplog.text


def test_accented_letters_of_names_may_be_one_character_or_two(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", "cafe\u0301,b\nx,y\n")
    assert open_source(path).columns == ("caf\u00e9", "b")
    line = written(tmp_path / "x.jsonl", '{"cafe\u0301": "x", "b": "y"}\n')
    assert rows(open_source(line)) == [{"caf\u00e9": "x", "b": "y"}]


@pytest.mark.parametrize(
    ("given", "mark"),
    [("|", "|"), (";", ";"), (",", ","), (">", ">"), ("\\t", "\t"), ('"\\t"', "\t")],
)
def test_a_separator_needs_no_quotes_of_yaml(given: str, mark: str) -> None:
    assert read_data([f"delimiter={given}"]).delimiter == mark


def test_the_advised_override_works(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", "a|b\n1|2\n")
    with pytest.raises(Exception, match="--set 'delimiter=|'"):
        check_file(path, "[TEXT:a] -> [TEXT:b]")
    assert check_file(path, "[TEXT:a] -> [TEXT:b]", data=read_data(["delimiter=|"])).ok


@pytest.mark.parametrize(
    ("content", "way_out", "data"),
    [
        ("# created today\nq,y\na,b\n", "if it is a title or a remark, take it out", {}),
        ("q y\na b\n", "set delimiter: ' ', here --set \"delimiter=' '\"", {"delimiter": " "}),
    ],
)
def test_a_first_line_that_does_not_name_the_columns(
    tmp_path: Path, content: str, way_out: str, data: dict[str, Any]
) -> None:
    path = written(tmp_path / "x.csv", content)
    with pytest.raises(Exception, match=way_out):
        check_file(path, "[TEXT:q] -> [TEXT:y]")
    mended = content if data else content.partition("\n")[2]
    assert check_file(written(path, mended), "[TEXT:q] -> [TEXT:y]", data=DataConfig(**data)).ok


def test_a_blank_as_the_separator_may_be_given_with_the_command() -> None:
    assert read_data(["delimiter=' '"]).delimiter == " "


@pytest.mark.parametrize("first", ["# created today\nq,y\n", '"q","y"\n'])
def test_rows_that_all_have_more_fields_than_names_are_told(tmp_path: Path, first: str) -> None:
    rows_below = {"#": "a,b\n", '"': '"1","a","b"\n"2","c","d"\n'}[first[0]]
    source = open_source(written(tmp_path / "x.csv", first + rows_below))
    with pytest.raises(
        RowError, match=r"the first rows all have \d: take out what stands above the names, or name"
    ):
        source[0]
    named = open_source(written(tmp_path / "y.csv", ',"q","y"\n"1","a","b"\n'))
    assert rows(named) == [{"q": "a", "y": "b"}]
    with pytest.raises(RowError, match=r"3 fields, but the file has 2 columns \(a, b\)$"):
        open_source(written(tmp_path / "z.csv", "a,b\n1,2\n1,2,3\n"))[1]


def test_quotation_marks_behind_a_blank_are_told(tmp_path: Path) -> None:
    source = open_source(written(tmp_path / "x.csv", 'q,y\n"a", "b"\n"c", "d, e"\n'))
    assert (
        source[0] == {"q": "a", "y": ' "b"'}
        and "a quotation mark behind a blank is a letter" in notes_of(source)[0]
    )
    with pytest.raises(
        RowError, match=r"x.csv:3: 3 fields, .*; take out the blanks behind the separators"
    ):
        source[1]
    mended = written(tmp_path / "y.csv", 'q,y\n"a","b"\n"c","d, e"\n')
    assert (
        rows(open_source(mended))[1] == {"q": "c", "y": "d, e"}
        and notes_of(open_source(mended)) == ()
    )
