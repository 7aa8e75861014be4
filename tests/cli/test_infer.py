"""``ofa infer`` gives what the Python call gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ofa_cli.main import main
from ofacore import Generalist, Task

TEMPLATE = "say [TEXT:a] -> [TEXT:b]"
ROWS = [{"a": f"red {n}", "b": f"blue {n}"} for n in range(8)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model."""
    sizes = {
        "preset": "tiny",
        "hidden": 32,
        "ffn": 64,
        "heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 1,
    }
    return Generalist.create([Task("say", TEMPLATE, train=ROWS)], **sizes).save(
        tmp_path_factory.mktemp("m") / "model"
    )


def test_options_and_candidates(ofa, folder: Path) -> None:
    options = {"strategy": "beam", "beam": 3, "n_best": 3, "max_length": 4}
    words = [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    found = json.loads(
        ofa("infer", str(folder), "say", "--data", "a=red 1", *words, "--json").stdout
    )
    expected = Generalist.from_pretrained(folder).infer("say", {"a": "red 1"}, **options)
    assert found["values"] == expected.values and found["score"] == pytest.approx(
        expected.score, abs=1e-5
    )
    assert [one["value"] for one in found["candidates"]["b"]] == [
        one.value for one in expected.candidates["b"]
    ]
    assert len(found["candidates"]["b"][0]["log_probs"]) == len(
        expected.candidates["b"][0].log_probs
    )
    lines = ofa("infer", str(folder), "say", "--data", "a=red 1", *words).stdout.splitlines()
    assert lines[0] == f"b: {expected['b']}" and len(lines) == 4
    done = ofa("infer", str(folder), "say", "--data", "a=red 1", "--set", "n_best=0", code=2)
    assert "generation.n_best: found 0, expected 1 to 100000" in done.stderr


def test_a_closed_set_for_a_free_instruction(ofa, folder: Path) -> None:
    words = [
        word for value in ("yes", "no", "who knows") for word in ("--closed-set", f"kind={value}")
    ]
    free = "is it so? [TEXT:a] -> [TEXT:kind,closed_set]"
    words += ["--set", "n_best=3", "--json"]
    found = json.loads(ofa("infer", str(folder), free, "--data", "a=red 1", *words).stdout)
    assert {one["value"] for one in found["candidates"]["kind"]} == {"yes", "no", "who knows"}
    done = ofa("infer", str(folder), "say", "--data", "a=red 1", "--closed-set", "kin=yes", code=2)
    assert "closed_set: no target slot 'kin'; there are b" in done.stderr


def test_a_task_stands_for_its_name(folder: Path) -> None:
    model = Generalist.from_pretrained(folder)
    task = Task("say", TEMPLATE, train=ROWS)
    assert model.infer(task, ROWS[0]).text == model.infer("say", ROWS[0]).text


def test_a_slot_without_a_value_says_how_to_give_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["infer", str(folder), "say"])
    assert "nothing is given for a: --data a=VALUE" in capsys.readouterr().err
