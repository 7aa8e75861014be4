"""Options of generation belong to the generators that declare them, those of a plugin as those of token search."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ofa_cli.main import main
from ofacore import Generalist, Task
from ofacore.plugin import Registry, UserError
from ofacore.protocols import Hypothesis
from ofacore.setup.run_check import read_checked
from tests.contract import picking

SIZES = {
    "preset": "tiny",
    "hidden": 32,
    "ffn": 64,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
}
MEMBERS = ("one", "two", "three")
ROWS = [{"a": f"red {word}", "b": word, "c": word, "d": "free"} for word in MEMBERS]
LINES = {
    "picked": "[TEXT:a] -> [TEXT:b,closed_set,generator=pick]",
    "both": "[TEXT:a] -> [TEXT:b,closed_set,generator=pick] [TEXT:c,closed_set,generator=deal]",
    "mixed": "[TEXT:a] -> [TEXT:b,closed_set,generator=pick] [TEXT:d]",
    "compared": "[TEXT:a] -> [TEXT:d] [TEXT:b,closed_set,generator=compare]",
    "told": "[TEXT:a] -> [TEXT:d]",
}


@pytest.fixture(autouse=True)
def plugged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFA_PLUGIN_DEV", "picking=tests.contract.picking:MANIFEST")


@pytest.fixture(scope="module")
def model() -> Generalist:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFA_PLUGIN_DEV", "picking=tests.contract.picking:MANIFEST")
        sets = {"b": list(MEMBERS), "c": list(MEMBERS)}
        tasks = [
            Task(name, line, train=ROWS, closed_sets=_of(line, sets))
            for name, line in LINES.items()
        ]
        return Generalist.create(tasks, registry=Registry.discover(), **SIZES)


def _of(line: str, sets: dict[str, list[str]]) -> dict[str, list[str]]:
    return {slot: values for slot, values in sets.items() if f":{slot},closed_set" in line}


def configured(folder: Path, text: str, *overrides: str) -> Generalist:
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS))
    sizes = ", ".join(f"{key}: {value}" for key, value in SIZES.items())
    file = folder / "run.yaml"
    file.write_text(f"model: {{{sizes}}}\n{text}".replace("ROWS", str(folder / "rows.jsonl")))
    run = read_checked([str(file)], overrides)
    return Generalist.create(config=run.config, registry=run.registry)


def test_an_option_of_a_plugin_is_given_with_a_call(model: Generalist) -> None:
    found = [
        model.infer("picked", ROWS[0], **options)["b"]
        for options in ({}, {"pick": 2}, {"pick": 0, "offset": 1})
    ]
    assert found == ["one", "three", "two"]
    free = LINES["picked"].replace(" ->", " free ->")
    assert model.infer(free, ROWS[0], closed_set={"b": MEMBERS}, pick=1).text == "two"


TASK = """
tasks:
  picked:
    instruction: "[TEXT:a] -> [TEXT:b,closed_set,generator=pick]"
    closed_sets: {b: [one, two, three]}
    data: {train: ROWS}
"""


def test_layers_go_from_the_manifest_to_the_call(tmp_path: Path) -> None:
    wide = f"{TASK}generation: {{offset: 1}}\n"
    assert configured(tmp_path, wide).infer("picked", ROWS[0])["b"] == "two"
    both = f"{wide}    ".replace("ROWS}\n", "ROWS}\n    generation: {pick: 1}\n")
    near = configured(tmp_path, both)
    assert near.infer("picked", ROWS[0])["b"] == "three"
    assert near.infer("picked", ROWS[0], offset=0)["b"] == "two"
    again = Generalist.from_pretrained(near.save(tmp_path / "saved"))
    assert again.infer("picked", ROWS[0])["b"] == "three"
    set_ = configured(tmp_path, both, "tasks.picked.generation.pick=0")
    assert set_.infer("picked", ROWS[0])["b"] == "two"


def test_the_command_line_gives_them_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = configured(tmp_path, TASK).save(tmp_path / "saved")
    asked = ["infer", str(folder), "picked", "--data", "a=red one"]
    with pytest.raises(SystemExit) as done:
        main([*asked, "--set", "pick=2"])
    assert (done.value.code or 0, capsys.readouterr().out) == (0, "b: three\n")
    with pytest.raises(SystemExit) as done:
        main([*asked, "--set", "guidance=2"])
    assert done.value.code == 2
    told = capsys.readouterr().err
    assert "generation.guidance: no generator of 'picked' takes 'guidance'" in told
    assert "it is an option of generators 'audio_flow', 'diffusion'" in told


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (None, "it gave None for a row, which is no tuple of Hypothesis"),
        (Hypothesis(np.zeros(0, np.int64)), "it gave Hypothesis.* for a row, which is no tuple"),
        ((), "it gave no candidate for a row"),
    ],
)
def test_what_is_no_candidate_is_told_of_its_generator(
    model: Generalist, monkeypatch: pytest.MonkeyPatch, found: object, told: str
) -> None:
    monkeypatch.setattr(picking.Picks, "__call__", lambda *_: [found])
    with pytest.raises((TypeError, ValueError), match=told) as caught:
        model.infer("picked", {"a": "red one"})
    assert any("generator 'pick' of plugin 'picking'" in note for note in caught.value.__notes__)


def test_each_slot_gets_the_options_of_its_generator(model: Generalist) -> None:
    out = model.infer("mixed", ROWS[0], pick=1, max_length=3, min_length=3, seed=2)
    assert out["b"] == "two" and len(out.candidates["d"][0].log_probs) == 3
    out = model.infer("both", ROWS[0], pick=1, offset=1)
    assert (out["b"], out["c"]) == ("three", "two")


@pytest.mark.parametrize(
    ("task", "options", "told"),
    [
        (
            "told",
            {"pick": 1},
            "no generator of 'told' takes 'pick'; it is an option of generators 'deal' and 'pick'",
        ),
        ("picked", {"pik": 1}, "no generator of 'picked' takes 'pik'; did you mean 'pick'?"),
        (
            "picked",
            {"beam": 2},
            "no generator of 'picked' takes 'beam'; it is an option of generators 'ctc', 'ctc_attention' and 'token'",
        ),
        (
            "picked",
            {"pick": 9},
            "generation.pick: found 9, expected 0 to 4; generator 'pick' has 0 by default",
        ),
        (
            "both",
            {"pick": True},
            "generation.pick: found True, expected a whole number; generator 'deal'",
        ),
        (
            "picked",
            {"pick": 2, "offset": 1},
            "generation: slot 'b': pick and offset are 3 together",
        ),
        ("both", {"pick": 4, "offset": -4}, "slot 'c' has no member 4 from its end"),
        (
            LINES["told"].replace("->", "so ->"),
            {"pick": 1},
            "no generator of '[TEXT:a] so -> [TEXT:d]' takes 'pick'",
        ),
    ],
)
def test_a_wrong_option_of_a_call_names_who_takes_it(
    model: Generalist, task: str, options: dict, told: str
) -> None:
    with pytest.raises(UserError) as caught:
        model.infer(task, ROWS[0], **options)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("written", "line", "told"),
    [
        (
            "    generation: {beam: 2}",
            7,
            "tasks.picked.generation.beam: no generator of 'picked' takes 'beam'; it is an",
        ),
        ("    generation: {pick: 7}", 7, "tasks.picked.generation.pick: found 7, expected 0 to 4"),
        (
            "    generation: {pick: 2, offset: 2}",
            7,
            "tasks.picked.generation: slot 'b': pick and offset are 4 together",
        ),
        (
            "generation: {pikc: 2}",
            7,
            "generation.pikc: no installed generator takes 'pikc'; did you mean 'pick'?",
        ),
        ("generation: {pick: no}", 7, "generation.pick: found 'no', expected a whole number"),
    ],
)
def test_a_wrong_option_of_a_configuration_is_found_at_its_place(
    tmp_path: Path, written: str, line: int, told: str
) -> None:
    with pytest.raises(UserError) as caught:
        configured(tmp_path, TASK.removeprefix("\n") + written + "\n")
    assert f"run.yaml:{line}: {told}" in str(caught.value)


def test_what_a_row_cannot_meet_is_told_before_training(tmp_path: Path) -> None:
    text = TASK.replace("generator=pick", "generator=deal") + "    generation: {pick: 4}\n"
    with pytest.raises(
        UserError, match="tasks.picked.generation: slot 'b' has no member 4 from its end"
    ):
        configured(tmp_path, text)


def test_a_generator_says_whether_it_is_guided_and_gets_the_phrases_that_it_asks_for(
    model: Generalist,
) -> None:
    answers = [
        model.infer("compared", ROWS[0], max_length=3, **more)["b"] for more in ({}, {"scale": 2.0})
    ]
    assert answers == ["one", "two"]
    open_ = LINES["compared"].replace("closed_set,", "")
    assert open_ != LINES["compared"]
    out = model.infer("compared", ROWS[0], must_contain=["red"], max_length=20)
    assert "red" in out["d"]


def test_an_evaluation_of_many_tasks_gives_each_what_it_takes(model: Generalist) -> None:
    with pytest.raises(UserError, match="no generator of 'picked', 'both'.* takes 'guidance'"):
        model.evaluate(guidance=2.0)
    assert model.evaluate(pick=1, max_length=2) == []


def test_a_checkpoint_of_before_loads_with_options_that_nobody_takes(tmp_path: Path) -> None:
    task = Task("told", LINES["told"], train=ROWS, generation={"max_length": 3, "min_length": 3})
    model = Generalist.create([task], **SIZES)
    model.assembly.config.tasks["told"].generation.update({"guidance": 1.5, "beam": None})
    again = Generalist.from_pretrained(model.save(tmp_path / "saved"))
    assert again.assembly.config.tasks["told"].generation["guidance"] == 1.5
    assert len(again.infer("told", ROWS[0]).candidates["d"][0].log_probs) == 3
