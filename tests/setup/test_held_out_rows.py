"""Rows that are cut off from the training rows: the same ones whoever asks for them."""

import json

import pytest

from ofacore.config.loading import ConfigText
from ofacore.setup.datasets import open_task
from ofacore.setup.run_check import read_checked

LINE = "[TEXT:a] -> [TEXT:b]"


def table(folder, name, numbers):
    path = folder / name
    path.write_text("a,b\n" + "".join(f"{n},{n}\n" for n in numbers))
    return str(path)


@pytest.mark.parametrize("given", ["", "valid", "test"])
def test_scoring_a_run_takes_the_rows_that_its_training_took(tmp_path, given):
    data = {"train": table(tmp_path, "train.csv", range(100)), "split": {"valid": 0.1, "test": 0.2}}
    if given:
        data[given] = table(tmp_path, "given.csv", range(100, 110))
    config = {"tasks": {"t": {"instruction": LINE, "data": data}}}
    run = read_checked([ConfigText(json.dumps(config), "config")])
    plan, task, registry = run.plans["t"], run.config.tasks["t"], run.registry
    trained = open_task(plan, task, registry)
    assert sum(len(split) for split in trained.splits.values()) == (110 if given else 100)
    for split in ("train", "valid", "test"):
        scored = open_task(plan, task, registry, split).held_out(split)
        if split == "train":
            scored = open_task(plan, task, registry, split).train
        assert rows(scored) == rows(trained.splits[split]), split


def test_only_the_file_that_is_scored_needs_to_be_there(tmp_path):
    data = {"train": table(tmp_path, "train.csv", range(100)), "split": {"test": 0.2}}
    data["valid"] = table(tmp_path, "valid.csv", range(5))
    run = read_checked(
        [ConfigText(json.dumps({"tasks": {"t": {"instruction": LINE, "data": data}}}), "config")]
    )
    (tmp_path / "valid.csv").unlink()
    found = open_task(run.plans["t"], run.config.tasks["t"], run.registry, "test")
    assert "valid" not in found.splits and 0 < len(found.splits["test"]) < 50


def rows(source):
    return [source[number] for number in range(len(source))]
