"""Two installed distributions of one slot: a finished run goes on with the one that it was made with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tests.kit.faulty.touch as touch
from ofacore.checkpoint import find_latest, load_state, step_folder

ENTRY = "[ofa.modality]\n{name} = {name}_touch:MANIFEST\n"
COMMANDS = """
import sys
from ofa_cli.main import main
for arguments in {commands!r}:
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    print("ended", arguments[0], code or 0, flush=True)
"""
INFER = """
from ofacore import Generalist
print("answered", len(Generalist.from_pretrained({run!r}).infer("press", {{"value": [0.1, 0.2]}}).values))
"""
INSTRUCTION = "[TOUCH:value] -> [TOUCH:after]"
RUN = {
    "name": "pressed",
    "tasks": {
        "press": {
            "instruction": INSTRUCTION,
            "data": {"train": "rows.jsonl", "test": "rows.jsonl"},
        },
    },
    "model": {"hidden": 16, "ffn": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1},
    "train": {"steps": 1, "samples": 2, "precision": "fp32", "trackers": [], "threads": 1},
}


def code(name):
    """The modality, under another plugin's name, in a module of its own."""
    return (
        Path(touch.__file__)
        .read_text()
        .replace('ModalityManifest("touch"', f'ModalityManifest("{name}"')
        + "\nMANIFEST = touch()\n"
    )


@pytest.fixture(scope="module")
def pressed(shared_site):
    """A run that was made while the first distribution alone was installed; then comes another."""
    shared_site.install("first-touch", ENTRY.format(name="first"), {"first_touch": code("first")})
    rows = "".join(
        json.dumps({"value": [0.1 * k, 0.5], "after": [0.5, 0.1 * k]}) + "\n" for k in range(4)
    )
    (shared_site.folder / "rows.jsonl").write_text(rows)
    config = {**RUN, "out": str(shared_site.folder / "run")}
    for split in ("train", "test"):
        config["tasks"]["press"]["data"][split] = str(shared_site.folder / "rows.jsonl")
    (shared_site.folder / "run.yaml").write_text(json.dumps(config))
    done = ofa(shared_site, ["train", str(shared_site.folder / "run.yaml")])
    assert "ended train 0" in done.stdout, done.stderr
    shared_site.install("other-touch", ENTRY.format(name="other"), {"other_touch": code("other")})
    return shared_site


def ofa(site, *commands, first="", **environment):
    """Several commands in one process."""
    return site.run(first + COMMANDS.format(commands=commands), **environment)


def newest(site):
    """Name of the newest checkpoint, and the distribution of the slot that it was made with."""
    place = find_latest(site.folder / "run")
    return place.name, load_state(place)["assembly"]["components"]["slot/TOUCH"]["distribution"]


def test_a_finished_run_answers_and_scores_with_its_own_distribution_and_nothing_else_guesses(
    pressed,
):
    run, config = str(pressed.folder / "run"), str(pressed.folder / "run.yaml")
    another = ["train", config, "--out", str(pressed.folder / "another")]
    done = ofa(
        pressed, ["eval", run], ["explain", INSTRUCTION], another, first=INFER.format(run=run)
    )
    assert "answered" in done.stdout and "ended eval 0" in done.stdout
    assert "ended explain 2" in done.stdout and "ended train 2" in done.stdout
    assert (
        "OFA_PREFER=TOUCH=first-touch" in done.stderr and not (pressed.folder / "another").exists()
    )


def test_a_run_goes_on_with_its_own_distribution_and_elsewhere_the_environment_chooses(pressed):
    resume = ["train", str(pressed.folder / "run.yaml"), "--resume", "--steps", "2"]
    done = ofa(
        pressed, resume, ["explain", INSTRUCTION], OFA_PREFER="TOUCH=other-touch,touch=other-touch"
    )
    assert "ended train 0" in done.stdout and "ended explain 0" in done.stdout, done.stderr
    assert newest(pressed) == (step_folder(pressed.folder, 2).name, "first-touch")
