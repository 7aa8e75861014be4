"""A model that learns from structures, and answers with them."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from ofa_kit import ClosedRegistry
from ofacore import Generalist, Task
from ofacore.plan import compile_task
from ofacore.protocols import Hypothesis, RowContext

SIZES = {
    "preset": "tiny",
    "hidden": 64,
    "ffn": 128,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
}
TEXT, STRUCT = "ofa_modality_text.manifest:MANIFEST", "ofa_modality_structured.manifest:MANIFEST"


def registry():
    return ClosedRegistry().register(TEXT, STRUCT)


def people():
    """Tables of one row, and the record that the row is: texts, numbers, None."""
    return [
        {"table": [["name", "age"], [name, age]], "answer": {"name": name, "age": age}}
        for name in ("ann", "bob")
        for age in (7, None)
    ]


def test_records_are_learned_from_tables_and_stored(tmp_path):
    rows = people()
    task = Task("read", "what is in [STRUCT:table]? -> [STRUCT:answer]", train=rows)
    model = Generalist.create([task], registry=registry(), **SIZES)
    model.fit(steps=120, samples=4, out=tmp_path / "run", precision="fp32", optimizer={"lr": 4e-3})
    asked = [{"table": row["table"]} for row in rows]
    answers = [output.structure for output in model.infer("read", asked)]
    assert answers == [row["answer"] for row in rows]
    again = Generalist.from_pretrained(tmp_path / "run", registry=registry())
    assert [output.structure for output in again.infer("read", asked)] == answers


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "d.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('red'), ('blue');")
    return path


def source_text(model, line, row):
    """What the model is given in place of the column ``db``, as text."""
    ctx = RowContext(row, "sql", "test", np.random.default_rng(0))
    slot = compile_task("sql", line, registry()).templates[0].named("db")
    (segment,) = model.assembly.preprocessor("structure").encode(row["db"], slot, ctx)
    return model.assembly.preprocessor("text").decode(Hypothesis(segment.ids), slot, ctx)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("", "| d | t : a"),
        (",question=ask", "| d | t : a ( red )"),
        (",question=ask,types,uncased", "| d | t : a text ( red )"),
        (",question=ask,max_values=0,level=character", "| d | t : a"),
    ],
)
def test_the_values_of_the_question_reach_the_model(database, attributes, expected):
    row = {"ask": "is it Red?", "db": str(database), "sql": "SELECT a FROM t"}
    line = f"[TEXT:ask] [STRUCT:db{attributes}] -> [TEXT:sql]"
    model = Generalist.create([Task("sql", line, train=[row])], registry=registry(), **SIZES)
    assert source_text(model, line, row) == expected


def test_metrics_judge_a_run(database, tmp_path):
    rows = [{"ask": f"q{i}", "db": str(database), "sql": "SELECT a FROM t"} for i in range(4)]
    metrics = [
        {"metric": "execution_accuracy", "slot": "sql", "options": {"database": "db"}},
        {"metric": "sql_match", "slot": "sql"},
    ]
    task = Task(
        "sql", "[TEXT:ask] [STRUCT:db] -> [TEXT:sql]", train=rows, test=rows, metrics=metrics
    )
    model = Generalist.create([task], registry=registry(), **SIZES)
    model.fit(steps=60, samples=4, out=tmp_path / "run", precision="fp32", optimizer={"lr": 3e-3})
    scores = {row.metric: row.score for row in model.evaluate()}
    assert scores["execution_accuracy"] == scores["sql_match"] == 1.0, scores


def test_rows_of_a_file_hold_tables_as_json_and_databases_by_relative_paths(database, tmp_path):
    cells = [["name", "how far"], ["Dr. Ann", 3.5], ["no_file.png", None]]
    row = {"ask": "red?", "db": database.name, "table": cells, "sql": "SELECT a FROM t"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow({**row, "table": json.dumps(cells)})
    line = "[TEXT:ask] [STRUCT:db,question=ask] [STRUCT:table] -> [TEXT:sql]"
    judged = {"metric": "execution_accuracy", "slot": "sql"}
    judged["options"] = {"database": "db", "folder": str(tmp_path)}
    options = {"preprocessor/structure": {"folder": str(tmp_path)}}
    for name in ("rows.jsonl", "rows.csv"):
        data = str(tmp_path / name)
        task = Task("sql", line, train=data, test=data, metrics=[judged])
        model = Generalist.create([task], registry=registry(), options=options, **SIZES)
        model.fit(steps=2, samples=2, out=tmp_path / f"run_{name}", precision="fp32")
        (scored,) = model.evaluate()
        assert (scored.samples, scored.left_out, scored.problem) == (1, 0, "")


def test_grids_are_learned_and_judged(tmp_path):
    puzzles = [[[1, 0], [0, 2]], [[0, 2], [1, 0]]]
    solutions = [[[1, 2], [1, 2]], [[2, 2], [1, 1]]]
    rows = [{"p": p, "s": s} for p, s in zip(puzzles, solutions, strict=True)]
    metrics = [
        {"metric": "grid_solved", "slot": "s"},
        {"metric": "grid_cells", "slot": "s", "options": {"puzzle": "p"}},
    ]
    line = "solve [STRUCT:p,level=character] -> [STRUCT:s,form=grid,level=character]"
    task = Task("sudoku", line, train=rows, test=rows, metrics=metrics)
    model = Generalist.create([task], registry=registry(), **SIZES)
    model.fit(steps=100, samples=4, out=tmp_path / "run", precision="fp32", optimizer={"lr": 3e-3})
    assert [output.structure for output in model.infer("sudoku", rows)] == solutions
    scores = {row.metric: row.score for row in model.evaluate()}
    assert scores == {"grid_solved": 1.0, "grid_cells": 1.0}


def test_a_row_whose_reference_fails_is_left_out(database, tmp_path):
    rows = [{"ask": "q", "db": str(database), "sql": "SELECT a FROM t"} for _ in range(3)]
    rows.append({**rows[0], "sql": "SELECT nowhere FROM t"})
    metrics = [{"metric": "execution_accuracy", "slot": "sql", "options": {"database": "db"}}]
    task = Task("sql", "[TEXT:ask] -> [TEXT:sql]", train=rows, test=rows, metrics=metrics)
    model = Generalist.create([task], registry=registry(), **SIZES)
    model.fit(steps=1, samples=4, out=tmp_path / "run", precision="fp32")
    (row,) = model.evaluate()
    assert (row.samples, row.left_out) == (3, 1)
