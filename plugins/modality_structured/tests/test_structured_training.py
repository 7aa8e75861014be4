"""A model that learns from structures, and answers with them."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np
import pytest

from ofa_kit import ClosedRegistry
from ofacore import Generalist, Task
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
NAMES = ("ann", "bob", "cleo", "dan")


def registry():
    return ClosedRegistry().register(TEXT, STRUCT)


def people():
    """Who has what: the answer stands in the row that the question names, and is a record."""
    return [
        {
            "ask": name,
            "table": [["name", "age"], *([each, ages[i]] for i, each in enumerate(NAMES))],
            "answer": {"name": name, "age": ages[NAMES.index(name)]},
        }
        for name in NAMES
        for ages in ([1, 2, 3, None], [2, 3, None, 1])
    ]


def test_records_are_learned_from_tables_and_stored(tmp_path):
    rows = people()
    line = "who is [TEXT:ask] in [STRUCT:table]? -> [STRUCT:answer]"
    task = Task("who", line, train=rows)
    model = Generalist.create([task], registry=registry(), **SIZES)
    model.fit(steps=150, samples=8, out=tmp_path / "run", precision="fp32", lr=3e-3, warmup=5)
    answers = [
        model.infer("who", {"ask": row["ask"], "table": row["table"]}).structure for row in rows
    ]
    right = sum(answer == row["answer"] for answer, row in zip(answers, rows, strict=True))
    assert right >= 6, answers
    again = Generalist.from_pretrained(tmp_path / "run", registry=registry())
    asked = {"ask": "ann", "table": rows[0]["table"]}
    assert again.infer("who", asked).values == model.infer("who", asked).values


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "d.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('red'), ('blue');")
    return path


def source_text(model, row, column):
    """What the model is given of a source column, as text."""
    encoder = model.assembly.encoders["sql"]
    ctx = RowContext(row, "sql", "test", np.random.default_rng(0))
    slot = next(slot for slot in encoder.task.templates[0].slots.values() if slot.name == column)
    preprocessor = encoder.preprocessors[slot.preprocessor]
    (segment,) = preprocessor.encode(row[column], slot, ctx)
    text = encoder.preprocessors["text"]
    return text.decode(Hypothesis(segment.ids), slot, ctx)


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
    task = Task("sql", f"[TEXT:ask] [STRUCT:db{attributes}] -> [TEXT:sql]", train=[row])
    model = Generalist.create([task], registry=registry(), **SIZES)
    assert source_text(model, row, "db") == expected


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
    model.fit(steps=60, samples=4, out=tmp_path / "run", precision="fp32", lr=3e-3, warmup=5)
    scores = model.evaluate()
    assert "execution_accuracy" in str(scores), scores
