"""``ofa train "INSTRUCTION" rows.csv``: a run from one line, its held-out rows, and the file that it stands for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ofa_cli.main import main
from ofa_cli.one_line import one_line
from ofacore.config import load
from ofacore.config.task_section import DataConfig
from ofacore.ground.errors import UserError
from ofacore.plugin import Registry
from ofacore.sources import ListSource, open_source
from ofacore.sources.held_out import held_out

KIND = "[IMAGE:img,size=16] which kind? -> [TEXT:kind,closed_set]"
WORD = "what is [TEXT:word]? -> [TEXT:kind,closed_set]"
SHARES = {"valid": 0.1, "test": 0.2}


def chosen(rows: list[dict[str, Any]], paths: tuple[str, ...] = ()) -> dict[str, list[Any]]:
    splits = held_out(ListSource(rows), SHARES, paths)
    return {name: [source[n] for n in range(len(source))] for name, source in splits.items()}


@given(st.lists(st.integers(0, 50), min_size=3, max_size=60), st.integers(0, 60))
def test_held_out_rows_are_a_split_that_added_rows_do_not_move(
    numbers: list[int], cut: int
) -> None:
    rows = [{"n": number, "t": "x" * number} for number in numbers]
    splits = chosen(rows)
    assert sorted(row["n"] for part in splits.values() for row in part) == sorted(numbers)
    sides = {row["n"]: name for name, part in splits.items() for row in part}
    for name, part in splits.items():
        assert all(sides[row["n"]] == name for row in part)  # rows that are alike are together
    many = [{"n": number, "t": "x" * number} for number in range(51)]
    before, after = chosen(many), chosen([*rows, *many])
    for name, part in before.items():
        assert {row["n"] for row in part} == {row["n"] for row in after[name]}


def test_shares_are_about_what_was_asked_and_a_moved_folder_changes_nothing() -> None:
    rows = [{"img": f"/here/cats/{n}.png"} for n in range(1000)]
    moved = [{"img": row["img"].replace("/here", "there/far")} for row in rows]
    splits, again = chosen(rows, ("img",)), chosen(moved, ("img",))
    assert 60 < len(splits["valid"]) < 140 and 150 < len(splits["test"]) < 250
    for name, part in splits.items():
        names = [Path(row["img"]).name for row in part]
        assert names == [Path(row["img"]).name for row in again[name]]


def pictures(folder: Path, number: int = 2) -> None:
    for colour in ("red", "blue"):
        (folder / colour).mkdir(parents=True)
        for n in range(number):
            Image.new("RGB", (16, 16), colour).save(folder / colour / f"{n}.png")


def test_a_moved_folder_changes_nothing_whatever_columns_name_its_files(tmp_path: Path) -> None:
    def held(place: str) -> list[str]:
        folder = tmp_path / place / "set"
        folder.mkdir(parents=True)
        lines = ["img,mask"]
        for n in range(40):
            (folder / f"{n}.png").touch()
            (folder / f"mask{n}.png").touch()
            lines.append(f"{n}.png,mask{n}.png")
        (folder / "metadata.csv").write_text("\n".join(lines))
        source = open_source([str(folder)], DataConfig(empty="absent"))
        test = held_out(source, SHARES, ("img",))["test"]
        return [Path(test[n]["img"]).name for n in range(len(test))]

    assert held("here") == held("there/far") != []


def written(instruction: str, data: str) -> tuple[dict[str, Any], dict[str, Any]]:
    found = yaml.safe_load(one_line(instruction, data, Registry.discover()).config.text)
    (task,) = found["tasks"].values()
    return found, task


def test_class_folders_and_folders_by_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pictures(Path("plain"))
    found, task = written(KIND, "plain")
    assert task["data"]["columns"] == {"img": "file_name", "kind": "label"}
    assert task["metrics"] == [{"metric": "accuracy", "slot": "kind"}]
    assert task["data"]["split"] == {"valid": 0.1, "test": 0.1} and found["name"] == "kind"
    Path("runs/kind").mkdir(parents=True)
    pictures(Path("parts/train"))
    pictures(Path("parts/val"))
    found, task = written(KIND, "parts")
    assert task["data"]["valid"] == "parts/val" and found["name"] == "kind-2"
    assert task["data"]["split"] == {"valid": 0.0, "test": 0.1}


def test_tables_that_are_called_like_splits_are_splits(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("train.csv", "dev.csv", "test.csv"):
        (tmp_path / name).write_text("word,kind\na cat,animal\na rose,plant\nan oak,plant\n")
    _, task = written(WORD, str(tmp_path))
    assert [Path(task["data"][split]).name for split in ("train", "valid", "test")] == [
        "train.csv",
        "dev.csv",
        "test.csv",
    ]
    assert "split" not in task["data"]
    with pytest.raises(SystemExit) as ended:
        main(["data", "check", str(tmp_path), "--instruction", WORD])
    assert ended.value.code == 0 and "9 rows" in capfd.readouterr().out
    (tmp_path / "metadata.csv").write_text("word,kind\n" + "a cat,animal\n" * 4)
    assert written(WORD, str(tmp_path))[1]["data"]["train"] == str(tmp_path)


def test_no_rows_are_held_out_for_a_split_that_is_set_beside_the_line(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("word,kind\na cat,animal\na rose,plant\nan oak,plant\n")
    settings = ["tasks.kind.data.test=other.csv"]
    data = str(tmp_path / "rows.csv")
    found = one_line(WORD, data, Registry.discover(), settings=settings)
    assert "10% valid are held out" in found.notes[0]
    (task,) = yaml.safe_load(found.config.text)["tasks"].values()
    assert task["data"]["split"] == {"valid": 0.1, "test": 0.0}


def test_a_run_of_few_steps_is_shown_and_validated_along_the_way(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("word,kind\na cat,animal\na rose,plant\nan oak,plant\n")
    data, settings = str(tmp_path / "rows.csv"), ("train.steps=90", "train.steps=40")
    found = one_line(WORD, data, Registry.discover(), settings=settings)
    train = yaml.safe_load(found.config.text)["train"]
    assert (train["log_every"], train["validation"]["every"]) == (2, 10)
    assert train["checkpoint"]["every"] == 10


def test_a_line_leaves_to_others_what_they_say(tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    data.write_text("word,kind\n" + "".join(f"w{n},k{n % 2}\n" for n in range(200)))
    registry, settings = Registry.discover(), ["train.epochs=8"]
    found = one_line(WORD, str(data), registry, settings=settings)
    assert load([found.config], settings).train.epochs == 8
    assert yaml.safe_load(found.config.text)["train"]["validation"]["every"] == 10
    joining = load([one_line(WORD, str(data), registry, joins=True).config])
    assert not joining.model.model_fields_set
    assert not {"optimizer", "lr"} & joining.train.model_fields_set


def test_a_saved_dataset_keeps_its_splits(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_list([{"word": f"w{n}", "kind": "a"} for n in range(20)])
    place = str(tmp_path / "saved")
    datasets.DatasetDict({"train": rows, "test": rows.select(range(3))}).save_to_disk(place)
    _, task = written(WORD, place)
    assert task["data"]["test"] == place and task["data"]["split"]["valid"] == 0.1
    assert len(open_source(place, DataConfig(), "test")) == 3


def test_every_type_that_is_learned_has_a_metric_of_its_own() -> None:
    registry = Registry.discover()
    known = {slot.name: slot.default_metrics for slot in registry.slots().values()}
    for metrics in known.values():
        assert set(metrics.values()) <= set(registry.names("metric"))
    assert known["TEXT"]["closed_set"] == "accuracy" and known["BOX"][""] == "iou_accuracy"


def test_numbers_and_repeats_have_metrics_of_their_own(tmp_path: Path) -> None:
    rows = [{"x": "a", "n": str(n / 2), "m": n or "none", "kinds": ["a", "b"]} for n in range(40)]
    data = str(tmp_path / "rows.jsonl")
    Path(data).write_text("\n".join(map(json.dumps, rows)))

    def metrics(target: str) -> list[str]:
        return [use["metric"] for use in written(f"[TEXT:x] -> {target}", data)[1]["metrics"]]

    assert metrics("[TEXT:n]") == ["absolute_error"] and metrics("[TEXT:m]") == ["chrf"]
    assert metrics("[TEXT:n,closed_set]") == ["accuracy"]
    assert metrics("[STRUCT:n]") == ["structure_match"]
    assert metrics("([TEXT:kinds])*") == metrics("([CATEGORY:kinds])*") == ["multilabel_f1"]
    assert metrics("([TEXT:kinds,closed_set])* [TEXT:m]") == ["multilabel_f1", "chrf"]


def test_rows_may_lie_in_several_files(tmp_path: Path) -> None:
    for number in (0, 1):
        (tmp_path / f"part-{number}.csv").write_text("word,kind\na cat,animal\na rose,plant\n")
    _, task = written(WORD, str(tmp_path / "part-{0..1}.csv"))
    assert task["data"]["train"].endswith("part-{0..1}.csv")
    with pytest.raises(UserError, match="part-2.csv"):
        written(WORD, str(tmp_path / "part-{0..2}.csv"))


def test_rows_are_read_as_is_set_beside_the_line(tmp_path: Path) -> None:
    data = tmp_path / "precios.csv"
    lines = ["año;precio", *(f"{1990 + n};{n}" for n in range(9))]
    data.write_bytes("\n".join(lines).encode("cp1252"))
    with pytest.raises(UserError, match="not UTF-8"):
        written("[TEXT:ano] -> [TEXT:precio]", str(data))
    keys = ("encoding=cp1252", "delimiter=;", "columns={ano: año}")
    settings = [f"tasks.precio.data.{key}" for key in keys]
    registry = Registry.discover()
    found = one_line("[TEXT:ano] -> [TEXT:precio]", str(data), registry, settings=settings)
    (task,) = yaml.safe_load(found.config.text)["tasks"].values()
    assert task["metrics"] == [{"metric": "absolute_error", "slot": "precio"}]


@pytest.mark.parametrize(("rows", "said"), [(0, "no rows"), (1, "1 row:"), (2, "2 rows:")])
def test_a_table_of_hardly_any_rows_is_refused(tmp_path: Path, rows: int, said: str) -> None:
    data = tmp_path / "few.csv"
    data.write_text("word,kind\n" + "a cat,animal\n" * rows)
    with pytest.raises(UserError, match=rf"few.csv has {said}.* give 3 or more"):
        written(WORD, str(data))


def test_the_file_that_is_written_trains_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [f"{colour} {n},{colour}" for colour in ("red", "blue") for n in range(20)]
    Path("rows.csv").write_text("\n".join(["word,kind", *lines]))
    small = ["hidden=32", "ffn=32", "heads=2", "encoder_layers=1", "decoder_layers=1"]
    words = [word for size in small for word in ("--set", f"model.{size}")]

    def ofa(*arguments: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["train", *arguments])
        said = capsys.readouterr()
        assert (ended.value.code or 0) == code, said.err
        return said.out + said.err

    told = ofa(WORD, "rows.csv", "--steps", "2", "--save-config", "kind.yaml", *words)
    assert "40 rows, of which 10% valid and 10% test are held out" in told
    ofa("kind.yaml", "--out", "again")
    losses = []
    for run in ("runs/kind", "again"):
        lines = Path(run, "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line).get("train/kind/kind") for line in lines])
    assert losses[0] == losses[1] and any(losses[0])
    assert "an instruction needs rows" in ofa(WORD, code=2)
    assert "'rows.csv' exists" in ofa(WORD, "rows.csv", "--save-config", "rows.csv", code=2)
    assert "goes with an instruction" in ofa("kind.yaml", "rows.csv", code=2)
    assert "did you mean rows.csv" in ofa(WORD, "row.csv", code=2)
    assert "did you mean 'closed_set'?" in ofa(WORD.replace("closed", "close"), "rows.csv", code=2)
