"""``ofa predict``: every row of a file, a folder or a stream, answered in order, gone on with after a stop."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from PIL import Image

from ofa_cli.main import main
from ofa_cli.predicting.journal import Journal, Standing, standing
from ofa_cli.predicting.places import answer_places
from ofacore import Generalist, Task
from ofacore.ground.folders import claimed

SIZES = {"preset": "tiny", "hidden": 32, "ffn": 64, "heads": 2, "encoder_layers": 1}
WORDS = ["red", "green", "blue", "yellow", "violet"]
ROWS = [
    {"id": f"n{n}", "a": " ".join(WORDS[: 1 + n % 5]), "b": f"it is {WORDS[n % 5]}"}
    for n in range(40)
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model of a text, a picture, and a task that reads a row's own column."""
    pictures = [{"img": Image.new("RGB", (16, 16), word), "kind": word} for word in WORDS]
    tasks = [
        Task("say", "say [TEXT:a] -> [TEXT:b,max_length=4]", train=ROWS),
        Task("kind", "[IMAGE:img,size=16] -> [TEXT:kind,closed_set]", train=pictures),
        Task(
            "draw",
            "draw [TEXT:kind] -> [IMAGE:img,size=16]",
            train=pictures,
            generation={"steps": 1},
        ),
        Task(
            "named",
            "named [TEXT:text] -> [TEXT:b,max_length=4]",
            train=ROWS,
            data={"columns": {"text": "a"}},
        ),
    ]
    model = Generalist.create(tasks, decoder_layers=1, **SIZES)
    return model.save(tmp_path_factory.mktemp("m") / "model")


@pytest.fixture
def ask(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """``ask(task, file, ...)`` runs the command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str, code: int = 0, folder: Path = run) -> Any:
        with pytest.raises(SystemExit) as ended:
            main(["predict", str(folder), *words])
        said = capsys.readouterr()
        assert (ended.value.code or 0) == code, said.err
        assert "Traceback" not in said.err
        return said

    return call


def written(rows: list[dict[str, Any]], name: str = "rows.csv") -> str:
    with open(name, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return name


def lines(name: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


def test_answers_come_in_the_order_of_rows_as_infer_gives_them(ask, run: Path) -> None:
    said = ask("say", written(ROWS), "--out", "a.jsonl", "--batch-size", "2", "--keep", "id")
    found = lines("a.jsonl")
    expected = Generalist.from_pretrained(run).infer("say", [{"a": row["a"]} for row in ROWS])
    assert [one["values"] for one in found] == [one.values for one in expected]
    assert [one["row"] for one in found] == list(range(40))
    assert [one["kept"]["id"] for one in found] == [row["id"] for row in ROWS]
    assert found[3]["at"] == "rows.csv:5" and found[0]["log_prob"] < 0
    assert "40 answers" in said.err and "rows/s" in said.err
    assert not Path("a.bad.jsonl").exists()


def test_a_stopped_output_goes_on_as_if_nothing_had_been(ask) -> None:
    rows = [*ROWS[:20], {"id": "x"}, *ROWS[:20]]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "{no\n")
    words = ("say", "rows.jsonl", "--out", "a.jsonl", "--batch-size", "2")
    words += ("--set", "strategy=sample")
    ask(*words)
    whole, bad = Path("a.jsonl").read_bytes(), Path("a.bad.jsonl").read_bytes()
    assert "not JSON" in lines("a.bad.jsonl")[-1]["reason"]
    for size in (len(whole) // 2, len(whole) - 3):
        Path("a.jsonl").write_bytes(whole[:size])
        Path("a.bad.jsonl").write_bytes(bad[: size // 2])
        ask(*words, "--resume")
        assert Path("a.jsonl").read_bytes() == whole
        assert Path("a.bad.jsonl").read_bytes() == bad
    said = ask(*words[:-1], "strategy=greedy", "--resume", code=2)
    assert "was begun with another generation" in said.err
    assert "exists; --resume goes on" in ask(*words, code=2).err
    assert Path("a.jsonl").read_bytes() == whole
    ask("say", written(ROWS[:2]), "--out", "a.jsonl", "--overwrite")
    assert len(lines("a.jsonl")) == 2 and not Path("a.bad.jsonl").exists()


def test_tables_have_a_column_for_each_slot(ask) -> None:
    name = written(ROWS[:6])
    ask("say", name, "--out", "a.csv", "--n-best", "2")
    ask("say", name, "--out", "a.parquet", "--n-best", "2")
    with open("a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    table = parquet.read_table("a.parquet").to_pylist()
    assert [row["b"] for row in rows] == [row["b"] for row in table]
    assert list(rows[0]) == list(table[0])
    assert len(json.loads(rows[0]["candidates"])["b"]) == 2
    assert not list(Path().glob("*.part")) and not list(Path().glob("*.tmp"))
    said = ask("say", name, "--out", "a.csv", "--n-best", "2", "--resume")
    assert "nothing is left to answer" in said.err


def test_a_stream_is_lines_or_objects(ask, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'red\n{"a": "red"}\n\n[1\n'
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    said = ask("say", "-")
    found = [json.loads(line) for line in said.out.splitlines()]
    assert [one["row"] for one in found] == [0, 1, 2] and found[0]["values"] == found[1]["values"]
    monkeypatch.setattr("sys.stdin", io.StringIO('{"a": "red"}\n{"a": \n'))
    said = ask("say", "-")
    assert len(said.out.splitlines()) == 1 and "not answered" in said.err
    Path("words.txt").write_text("red\n\nblue\n")
    said = ask("say", "words.txt")
    assert [json.loads(line)["at"] for line in said.out.splitlines()] == [
        "words.txt:1",
        "words.txt:3",
    ]


def test_files_of_a_folder_and_values_that_are_files(ask) -> None:
    Path("in").mkdir()
    for word in WORDS[:3]:
        Image.new("RGB", (20, 20), word).save(f"in/{word}.png")
    Path("in/notes.txt").write_text("no picture")
    ask("kind", "in", "--out", "answers")
    found = lines("answers/answers.jsonl")
    assert [Path(one["at"]).stem for one in found] == ["blue", "green", "red"]
    assert "notes.txt" in lines("answers/answers.bad.jsonl")[0]["at"]
    ask("draw", written([{"kind": "red"}, {"kind": "blue"}]), "--out", "d.jsonl")
    names = [one["values"]["img"] for one in lines("d.jsonl")]
    assert names == ["d.files/000000_img.png", "d.files/000001_img.png"]
    with Image.open(names[0]) as picture:
        assert picture.size == (16, 16)
    assert "answers of [IMAGE:img] are files" in ask("draw", "rows.csv", code=2).err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("say", "rows.csv", "--out", "a.json"), "'.json'; did you mean '.jsonl'"),
        (("say", "row.csv", "--out", "a.csv"), "no file or folder row.csv; did you mean rows.csv"),
        (("say", "other.csv", "--out", "a.csv"), "other.csv lacks column 'a'"),
        (("say", "rows.csv", "--keep", "ids"), "no column 'ids'; did you mean 'id'?"),
        (("say", "empty", "--out", "a"), "the folder is empty"),
        (("say", "texts", "--out", "a"), "takes files: there is none"),
        (("kind", "texts", "--out", "a"), "texts holds no usable file: texts/a.txt: "),
        (("kind", "texts", "--out", "texts/a"), "lies in 'texts', whose files are read"),
        (("say", "rows.csv", "--resume"), "name it by --out"),
        (("say", "rows.csv", "--read", "heade=false"), "did you mean 'header'?"),
    ],
)
def test_what_cannot_be_is_told_before_any_work(ask, words: tuple[str, ...], told: str) -> None:
    written(ROWS)
    written([{"word": "red", "b": "x"}], "other.csv")
    Path("empty").mkdir()
    Path("texts").mkdir()
    Path("texts/a.txt").write_text("x")
    assert told in ask(*words, code=2).err
    assert not list(Path().glob("a*")) and not list(Path("texts").glob("answers*"))


def test_no_file_that_is_not_its_own_is_replaced(ask) -> None:
    name = written(ROWS[:2])
    before = Path(name).read_bytes()
    said = ask("say", name, "--out", name, "--overwrite", code=2)
    assert "would take the place of 'rows.csv'" in said.err and Path(name).read_bytes() == before
    Path("own.jsonl").write_text('{"mine": 1}\n')
    said = ask("say", name, "--out", "own.jsonl", "--resume", code=2)
    assert "there is nothing to resume" in said.err
    assert Path("own.jsonl").read_text() == '{"mine": 1}\n'


def test_what_stands_beside_one_output_is_not_lost_to_another(ask) -> None:
    Path("rows.jsonl").write_text('{"a": "red"}\n{"b": "x"}\n')
    ask("say", "rows.jsonl", "--out", "a.jsonl")
    bad = Path("a.bad.jsonl").read_bytes()
    said = ask("say", written(ROWS[:2]), "--out", "a.csv", code=2)
    assert "'a.bad.jsonl' belongs to 'a.jsonl'" in said.err
    assert Path("a.bad.jsonl").read_bytes() == bad
    Path("a.jsonl").unlink()
    ask("say", "rows.csv", "--out", "a.csv")


def test_another_model_in_the_same_place_does_not_go_on(ask, run: Path, tmp_path: Path) -> None:
    name, model = written(ROWS[:2]), Generalist.from_pretrained(run)
    place = model.save(tmp_path / "model")
    ask("say", name, "--out", "a.jsonl", folder=place)
    ask("say", name, "--out", "a.jsonl", "--resume", folder=place)
    model.save(place)
    said = ask("say", name, "--out", "a.jsonl", "--resume", code=2, folder=place)
    assert "was begun with another checkpoint_written" in said.err


def test_a_value_for_all_rows_goes_before_the_column_of_its_slot(ask) -> None:
    name = written(ROWS[:2])
    rows = [json.loads(line) for line in ask("named", name).out.splitlines()]
    assert rows[0]["log_prob"] != pytest.approx(rows[1]["log_prob"])
    said = ask("named", name, "--data", f"text={ROWS[0]['a']}")
    same = [json.loads(line)["log_prob"] for line in said.out.splitlines()]
    assert same == pytest.approx([rows[0]["log_prob"]] * 2)


def test_an_ending_in_capitals_is_that_ending(ask) -> None:
    name = written(ROWS[:2])
    ask("say", name, "--out", "a.JSONL")
    assert [one["row"] for one in lines("a.JSONL")] == [0, 1]
    ask("say", name, "--out", "b.CSV")
    assert Path("b.CSV").read_text().startswith("row,at,b,")


def test_a_byte_order_mark_is_no_part_of_the_first_line(ask) -> None:
    Path("words.txt").write_text("red\nred\n", encoding="utf-8-sig")
    first, second = [json.loads(line) for line in ask("say", "words.txt").out.splitlines()]
    assert first["log_prob"] == pytest.approx(second["log_prob"])


def test_a_run_in_training_and_a_folder_that_is_none(ask, run: Path, tmp_path: Path) -> None:
    written(ROWS)
    busy = tmp_path / "busy"
    with claimed(busy):
        assert "it is being trained" in ask("say", "rows.csv", code=2, folder=busy).err
    (tmp_path / "none").mkdir()
    assert "is no run folder" in ask("say", "rows.csv", code=2, folder=tmp_path / "none").err


def test_whoever_interrupts_is_told_what_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = answer_places(tmp_path / "x.csv", "rows.csv", resume=False, overwrite=False)
    with pytest.raises(KeyboardInterrupt), Journal(places, Standing()) as journal:
        journal.write(['{"row": 0}', '{"row": 1}'], ['{"row": 2}'])
        raise KeyboardInterrupt
    assert f"3 rows are kept in {places.journal}" in (told := capsys.readouterr().err)
    assert "--resume goes on" in told and standing(places, 3, 9).rows == 3
