"""The modality on a screen: its one file is short, keeps the contract, and learns in both directions."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from ofacore.generalist.facade import Generalist
from ofacore.setup.task import Task
from tests.warm import run_program

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "grid_plugin"
FACTS = "Metadata-Version: 2.1\nName: ofa-modality-field\nVersion: 0.1.0\n"
ENTRY = "[ofa.modality]\nfield = ofa_modality_field:MANIFEST\n"
MARKS = {
    "cross": [[9, 0, 0, 9], [0, 9, 9, 0], [9, 0, 0, 9]],
    "bar": [[0, 0, 0, 0], [9, 9, 9, 9], [0, 0, 0, 0]],
    "left": [[9, 9, 0, 0], [9, 9, 0, 0], [9, 9, 0, 0]],
    "corner": [[9, 9, 9, 9], [0, 0, 0, 9], [0, 0, 0, 9]],
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Environment in which the example is installed."""
    folder = tmp_path_factory.mktemp("field")
    facts = folder / "ofa_modality_field-0.1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(FACTS)
    (facts / "entry_points.txt").write_text(ENTRY)
    paths = [str(EXAMPLE), str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OFA_CACHE": str(folder / "cache")}


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A model that was taught four marks, to draw them and to name them; maps are given in kelvin."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLE))
        patch.setenv("OFA_PLUGIN_DEV", "field=ofa_modality_field:MANIFEST")
        rows = [
            {"word": word, "map": (np.array(mark) + 273.15).tolist()}
            for word, mark in MARKS.items()
        ]
        draw = Task(
            "draw",
            "draw a [TEXT:word] -> [FIELD:map,unit=kelvin]",
            train=rows,
            test=rows,
            metrics=[{"metric": "field_error", "slot": "map"}],
        )
        name = Task(
            "name", "what is it? [FIELD:map,unit=kelvin] -> [TEXT:word,closed_set]", train=rows
        )
        model = Generalist.create(
            [draw, name],
            "tiny",
            hidden=32,
            ffn=64,
            heads=2,
            encoder_layers=1,
            decoder_layers=1,
            dropout=0.0,
        )
        model.fit(
            120,
            out=tmp_path_factory.mktemp("marks") / "run",
            samples=8,
            workers=0,
            threads=1,
            precision="fp32",
            optimizer={"lr": 5e-3},
        )
        yield model


def test_it_fits_on_a_screen():
    assert len((EXAMPLE / "ofa_modality_field.py").read_text("utf-8").splitlines()) <= 40


def test_its_suites_pass(installed):
    """But for those that take long: several processes, and hundreds of batches."""
    chosen = ["-m", "not dist", "-k", "not memory and not batches and not worker"]
    program = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *chosen,
        str(EXAMPLE),
    ]
    done = run_program(program, env=installed, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-4000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 30


def test_text_becomes_a_map(learned):
    answers = learned.infer("draw", [{"word": word} for word in MARKS])
    for answer, mark in zip(answers, MARKS.values(), strict=True):
        assert answer["map"].shape == (3, 4)
        assert np.abs(answer["map"] - 273.15 - np.array(mark)).max() < 1.5


def test_a_map_becomes_text(learned):
    rows = [{"map": (np.array(mark) + 273.15).tolist()} for mark in MARKS.values()]
    assert [answer.text for answer in learned.infer("name", rows)] == list(MARKS)


def test_a_map_as_text_is_read_by_the_author_s_function(learned):
    kelvin = "; ".join(" ".join(str(number + 273.15) for number in row) for row in MARKS["bar"])
    assert learned.infer("name", {"map": kelvin}).text == "bar"


def test_the_score_is_the_author_s_in_the_base_unit(learned):
    (row,) = learned.evaluate("draw")
    assert (row.metric, row.samples) == ("field_error", 4)
    assert 0 <= row.score < 1.5
