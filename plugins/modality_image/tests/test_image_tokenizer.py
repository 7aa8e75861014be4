"""``ofa train-tokenizer``."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from ofa_modality_image.codec.folder import artifact_in, load_codec
from ofa_modality_image.tokenizer_command import train_tokenizer

ENV = {"OFA_PLUGIN_DEV": "train-tokenizer=ofa_modality_image.tokenizer_manifest:COMMAND"}
SMALL = ["--size", "8", "--levels", "4,4", "--width", "8", "--steps", "20", "--batch", "4"]


@pytest.fixture
def pictures(tmp_path):
    """A folder of pictures, one of them damaged, one in a folder below."""
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(6):
        pixels = np.full((12, 10, 3), rng.integers(0, 256, 3), np.uint8)
        place = folder if number else folder / "below"
        Image.fromarray(pixels).save(place / f"{number}.png")
    (folder / "damaged.png").write_bytes(b"\x89PNG\r\n")
    (folder / "notes.txt").write_text("no picture")
    return folder


def run(*arguments):
    command = typer.Typer()
    command.command()(train_tokenizer)
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_it_writes_a_codec_and_tells_how_good_it_is(pictures, tmp_path):
    found = run(pictures, "--out", tmp_path / "codec", *SMALL)
    assert found.exit_code == 0, found.output
    assert "5 pictures, 1 held out; 4 codes each, of 16" in found.output
    assert "left out" in found.output and "damaged.png" in found.output
    settings = json.loads((tmp_path / "codec" / "config.json").read_text())
    assert settings["size"] == 8 and 0 < settings["codes_in_use"] <= 1
    assert "codes in use: " in found.output and 1 <= settings["code_perplexity"] <= 16
    codec = load_codec(artifact_in(tmp_path / "codec"))
    assert codec.decode(codec.encode(np.zeros((1, 16, 8, 3), np.uint8))).shape == (1, 16, 8, 3)


@pytest.mark.parametrize(
    ("further", "said"),
    [
        (["--levels", "8,x"], "write numbers with commas"),
        (["--factor", "3"], "power of two"),
        (["--size", "9"], "no multiple"),
        (["--quantiser", "vqq"], "it is none of fsq, vq"),
    ],
)
def test_options_that_make_no_codec_are_told(pictures, tmp_path, further, said):
    found = run(pictures, "--out", tmp_path / "codec", *SMALL, *further)
    assert found.exit_code != 0 and said in str(found.exception)


def test_data_that_are_none_are_told(tmp_path):
    found = run("no_such_task", "--out", tmp_path / "codec")
    assert "neither a folder of pictures nor the name of a task" in str(found.exception)
    found = run("image_gen", "--out", tmp_path / "codec")
    assert "no data of its own" in str(found.exception)
    (tmp_path / "empty").mkdir()
    found = run(tmp_path / "empty", "--out", tmp_path / "codec")
    assert "0 pictures can be read" in str(found.exception)


def test_a_codec_is_not_written_over(pictures, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    found = run(pictures, "--out", tmp_path, *SMALL)
    assert "there is a codec already" in str(found.exception)


def test_ofa_offers_the_command():
    command = [sys.executable, "-m", "ofa_cli.main", "train-tokenizer", "--help"]
    found = subprocess.run(command, env={**os.environ, **ENV}, capture_output=True, text=True)
    assert found.returncode == 0 and "--levels" in found.stdout, found.stderr
