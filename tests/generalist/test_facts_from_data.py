"""What a model takes from its training data and keeps: turns of repeats, weights of classes, members of closed sets."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from ofacore import Generalist, Task
from ofacore.config import ConfigError
from ofacore.config.train_section import TrainConfig
from ofacore.generalist.run_length import settle_steps
from ofacore.ground.errors import UserError
from ofacore.training.callbacks.end_mark import read_end

SIZES = {"hidden": 16, "ffn": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
QUIET = {"samples": 4, "trackers": ("jsonl",), "precision": "fp32", "threads": 1}
MANY = [{"a": "x", "n": ["one", "two", "three", "four"] * 10}, {"a": "y", "n": ["two"] * 20}]
KINDS = [
    {"q": str(k), "kind": "rare" if k % 4 == 0 else "usual", "other": "up" if k % 2 else "down"}
    for k in range(8)
]
HELD_OUT = [
    *KINDS[:3],
    {"q": "9", "kind": "new", "other": "up"},
    {"q": "8", "kind": "strange", "other": "up"},
]


def tasks(**options):
    kinds = "which is [TEXT:q]? -> [TEXT:kind,closed_set] [TEXT:other,closed_set]"
    return [
        Task("count", "[TEXT:a] -> ([TEXT:n,closed_set])*", train=MANY),
        Task("sort", kinds, train=KINDS, valid=HELD_OUT, test=KINDS, **options),
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The model, its folder, and what was told while it was made and trained."""
    told = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())
    logging.getLogger("ofacore").addHandler(handler)
    given = {"class_weights": {"kind": "balanced", "other": {"up": 3}}, "label_smoothing": 0.25}
    model = Generalist.create(tasks(**given), **SIZES)
    folder = tmp_path_factory.mktemp("run") / "run"
    threads = torch.get_num_threads()
    model.fit(12, out=folder, **QUIET)
    torch.set_num_threads(threads)
    logging.getLogger("ofacore").removeHandler(handler)
    return model, folder, told


@pytest.fixture(scope="module")
def loaded(made):
    return Generalist.from_pretrained(made[1])


def terms(model, number, split="train"):
    rng = np.random.default_rng(0)
    encoder = model.assembly.encoders["sort"]
    example = encoder.encode(KINDS[number], split=split, rng=rng, row_id="0")
    return {item.term: item for item in example.terms}


def test_a_repeat_may_have_a_quarter_more_turns_than_in_training(made, loaded):
    for model in (made[0], loaded):
        assert model.inference(model.plan("count")).generation.max_turns == 50
        assert model.inference(model.plan("sort")).generation.max_turns == 30
        assert model.inference(model.plan("count"), max_turns=7).generation.max_turns == 7


def test_a_repeat_that_is_cut_is_told(made, caplog):
    model = made[0]
    plan = replace(model.plan("count"), name="cut")
    out = model.inference(plan, max_turns=2)([{"a": "x"}])[0]
    assert (len(out["n"]), out.cut) == (2, 2)
    assert "cut off after 2 turns" in caplog.text and "max_turns allows more" in caplog.text
    whole = model.infer("sort", {"q": "1"})
    assert whole.cut == 0


def test_classes_weigh_as_the_training_data_or_the_task_say(made, loaded):
    for model in (made[0], loaded):
        rare, usual = terms(model, 0), terms(model, 1)
        assert (rare["sort/kind"].weight, rare["sort/other"].weight) == (2.0, 1.0)
        assert usual["sort/kind"].weight == pytest.approx(2 / 3)
        assert usual["sort/other"].weight == 3.0


def test_labels_are_smoothed_by_task(made):
    item = terms(made[0], 0)["sort/kind"]
    assert item.options == {"label_smoothing": 0.25}
    assert made[0].model.criterion(item.criterion, item.options).label_smoothing == 0.25


def test_weights_of_what_is_not_there_are_refused():
    with pytest.raises(
        ConfigError, match=r"class_weights.kind: no training row has the value 'rar'.*rare"
    ):
        Generalist.create(tasks(class_weights={"kind": {"rar": 2}}), **SIZES)
    with pytest.raises(ConfigError, match=r"class_weights.kin.*kind"):
        Generalist.create(tasks(class_weights={"kin": "balanced"}), **SIZES)


def test_held_out_values_outside_of_a_closed_set_are_counted_and_named(made):
    (told,) = [line for line in made[2] if "closed set" in line and "valid rows" in line]
    assert "2 of 5 valid rows have a value of 'kind'" in told
    assert "'new', 'strange'" in told and "list the values in tasks.sort.closed_sets.kind" in told
    (left,) = [line for line in made[2] if line.startswith("validation of task 'sort'")]
    assert "2 of 5 rows are left out" in left and "closed set" in left


def test_a_record_tells_passes_over_the_rows_of_each_task(made):
    lines = (made[1] / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    (last,) = [record for record in records if record["step"] == 12 and "run/steps" in record]
    assert last["epoch/sort"] == 12 * 2 / 8 and last["epoch/count"] == 12 * 2 / 2
    end = read_end(made[1])
    assert (end["step"], end["reason"]) == (12, "") and end["seconds"] > 0


@pytest.mark.parametrize(
    ("epochs", "steps"), [(2.0, 5), ({"sort": 1.5}, 6), ({"sort": 1, "count": 0.5}, 4)]
)
def test_steps_may_be_said_in_passes(made, epochs, steps):
    """Ten rows, eight of them of one task; two samples of each task in a step of four."""
    model = made[0]
    before = model.assembly.config
    given = before.train.model_dump(exclude={"steps", "epochs"})
    train = TrainConfig(**given, epochs=epochs)
    model.assembly.config = before.model_copy(update={"train": train})
    settle_steps(model)
    found, model.assembly.config = model.assembly.config.train, before
    assert (found.steps, found.epochs) == (steps, None)


def test_passes_that_cannot_be_are_refused(made):
    with pytest.raises(UserError, match="steps or epochs, not both"):
        made[0].fit(steps=1, epochs=2)
    with pytest.raises(ConfigError, match=r"train.epochs.srt: no such task is trained.*sort"):
        made[0].fit(epochs={"srt": 2}, **QUIET)


def test_data_of_one_task_train_that_task_alone(loaded, tmp_path):
    rows = [*KINDS, *KINDS]
    loaded.fit(1, out=tmp_path / "more", data={"sort": rows}, **QUIET)
    text = (tmp_path / "more" / "metrics.jsonl").read_text()
    assert "train/sort/kind" in text and "train/count/n" not in text
    assert len(loaded.data["sort"].train) == 16


def test_tasks_and_data_that_do_not_fit_are_refused(loaded):
    with pytest.raises(UserError, match=r"no task 'srt'.*sort"):
        loaded.fit(1, data={"srt": KINDS})
    with pytest.raises(UserError, match="data has rows for 'sort', which tasks does not name"):
        loaded.fit(1, data={"sort": KINDS}, tasks=["count"])


def test_a_rare_class_of_many_rows_is_counted():
    rows = [{"q": "x", "kind": "rare" if k % 30 == 1 else "usual"} for k in range(60_000)]
    line = "which is [TEXT:q]? -> [TEXT:kind,closed_set]"

    def weights(given):
        task = Task("sort", line, train=rows, class_weights={"kind": given})
        return Generalist.create([task], **SIZES).assembly.plans["sort"].class_weights["kind"]

    assert weights({"rare": 3}) == {"rare": 3.0}
    assert weights("balanced") == pytest.approx({"rare": 15.0, "usual": 30 / 58})
    with pytest.raises(ConfigError, match="no training row has the value 'none'"):
        weights({"none": 3})


def test_a_closed_set_of_very_many_rows_has_the_values_that_take_turns():
    rows = [{"q": "x", "kind": "no" if k % 2 else "yes"} for k in range(200_000)]
    task = Task("sort", "which is [TEXT:q]? -> [TEXT:kind,closed_set]", train=rows)
    plan = Generalist.create([task], **SIZES).assembly.plans["sort"]
    assert plan.closed_sets["kind"] == ("no", "yes")
