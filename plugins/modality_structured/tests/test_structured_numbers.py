"""Numbers of tables by digits and by bins."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ofa_modality_structured.continuous import ColumnScales
from ofa_modality_structured.number_bins import ColumnBins, parts, with_digits, without_bins
from ofa_modality_structured.tables import as_table
from ofacore import Generalist, Task
from ofacore.protocols import RowContext

SIZES = {"hidden": 32, "ffn": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}


def test_bins_of_a_column_hold_equally_many_numbers():
    numbers = np.random.default_rng(0).normal(size=400) ** 3
    bins = ColumnBins.fitted([as_table({"x": numbers.tolist(), "y": [1] * 400}, "t")], 8)
    marked = bins.marked(as_table([{"x": float(number), "y": 1} for number in numbers], "t"))
    found = [int(str(row[0]).strip("\0")) for row in marked.rows]
    assert np.bincount(found).tolist() == [50] * 8
    order = np.argsort(numbers)
    assert (np.diff(np.array(found)[order]) >= 0).all()


def test_a_column_that_training_did_not_show_and_a_number_beyond_floats_have_a_bin():
    bins = ColumnBins.fitted([as_table([{"x": 1}, {"x": 10**400}], "t")], 4)
    (row,) = bins.marked(as_table({"x": -(10**400), "new": 3}, "t")).rows
    assert row == ("\x000\x00", "\x000\x00")


def test_texts_keep_their_place_between_bins_and_can_hold_no_mark():
    (row,) = ColumnBins({"a": [5.0]}).marked(as_table({"a": 7, "b": "x\0" + "1\0"}, "t")).rows
    text = f"{row[0]} : {row[1]}"
    assert list(parts(text)) == [1, " : x1"] and without_bins(text) == " : x1"


def test_digits_stand_apart():
    (row,) = with_digits(as_table({"a": -1.25, "b": True, "c": "12", "d": 40}, "t")).rows
    assert row == ("- 1 . 2 5", True, "12", "4 0")


def test_continuous_numbers_keep_their_place_and_their_size():
    scales = ColumnScales.fitted([as_table({"x": [1.0, 3.0], "y": [7, 7]}, "t")])
    given = as_table({"x": 4.0, "b": "w\0", "y": 8, "new": -1, "far": 10**400}, "t")
    table, numbers = scales.marked(given)
    assert table.rows == (("\x000\x00", "w", "\x001\x00", "\x002\x00", "\x003\x00"),)
    assert numbers[0] == (2.0, math.log(5)) and numbers[1][0] == 1.0
    assert numbers[2] == (-1.0, -math.log(2)) and numbers[3][0] == 100.0


CONTINUOUS = "continuous,adapter=structure_cells"


@pytest.mark.parametrize("numbers", ["text", "digits", "bins", CONTINUOUS])
def test_a_class_is_learned_from_numbers_and_a_loaded_model_answers_alike(numbers, tmp_path):
    rng = np.random.default_rng(1)
    rows = [
        {"row": {"size": round(float(n), 2), "kind": "a"}, "c": str(n > 5)}
        for n in rng.uniform(0, 10, 60)
    ]
    line = f"[STRUCT:row,numbers={numbers}] large? -> [TEXT:c,closed_set]"
    model = Generalist.create([Task("t", line, train=rows)], **SIZES)
    model.fit(steps=60, samples=16, optimizer={"lr": 1e-2}, out=tmp_path / "run")
    answers = [model.infer("t", {"row": row["row"]}).text for row in rows]
    right = sum(answer == row["c"] for answer, row in zip(answers, rows, strict=True))
    assert right > 45
    model.save(tmp_path / "saved")
    again = Generalist.from_pretrained(tmp_path / "saved")
    assert [again.infer("t", {"row": row["row"]}).text for row in rows] == answers


@pytest.mark.parametrize("attributes", ["numbers=continuous", "adapter=structure_cells"])
def test_continuous_numbers_and_their_adapter_go_together(attributes):
    rows = [{"row": {"a": 1}, "c": "x"}]
    model = Generalist.create(
        [Task("t", f"[STRUCT:row,{attributes}] -> [TEXT:c]", train=rows)], **SIZES
    )
    with pytest.raises(ValueError, match="numbers=continuous,adapter=structure_cells"):
        model.infer("t", {"row": {"a": 1}})


def test_bins_belong_to_the_form_table(tmp_path):
    rows = [{"row": {"a": 1}, "c": "x"}]
    task = Task("t", "[STRUCT:row,form=json,numbers=bins] -> [TEXT:c]", train=rows)
    model = Generalist.create([task], **SIZES)
    with pytest.raises(ValueError, match="numbers=bins belongs to form=table"):
        model.infer("t", {"row": {"a": 1}})


@pytest.mark.parametrize("ratio", [0.0, 0.5])
@pytest.mark.parametrize("split", ["train", "valid"])
def test_texts_between_bins_are_those_of_text_and_masked_each_by_itself(ratio, split):
    rows = [{"row": {f"c{n}": n for n in range(12)}, "c": "x"}] * 4
    line = f"[STRUCT:row,numbers=bins,mask_ratio={ratio}] -> [TEXT:c]"
    encoder = Generalist.create([Task("t", line, train=rows)], **SIZES).assembly.encoders["t"]
    slot = encoder.plan.templates[0].slots[0]
    made, text = encoder.preprocessors["structure"], encoder.preprocessors["text"]
    (segment,) = made.encode(rows[0]["row"], slot, _context(split))
    head = " : ".join(rows[0]["row"])
    ctx = _context(split)
    wanted = [text.encode("", slot, ctx)[0].ids, text.encode(f"{head} | ", slot, ctx)[0].ids]
    for _ in range(11):
        wanted += [np.array([-1]), text.encode(" : ", slot, ctx)[0].ids]
    wanted = np.concatenate([*wanted, [-1]])
    bins = wanted < 0
    assert len(segment.ids) == len(wanted) and (segment.ids == wanted)[~bins].all()
    assert len(set(segment.ids[bins].tolist())) <= 12


def _context(split: str) -> RowContext:
    return RowContext({}, "t", split, np.random.default_rng(5))
