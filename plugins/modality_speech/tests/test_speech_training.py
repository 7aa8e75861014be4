"""A model that learns to write down what it hears, by attention and by CTC, and to say what it reads."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_kit import ClosedRegistry
from ofacore import Generalist, Task
from ofacore.plugin import UserError

SIZES = {
    "preset": "tiny",
    "hidden": 64,
    "ffn": 128,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "dropout": 0.0,
    "options": {"adapter/audio_fbank": {"channels": 16}},
}
TEXT, SPEECH = "ofa_modality_text.manifest:MANIFEST", "ofa_modality_speech.manifest:MANIFEST"
LINE = "[AUDIO:wav] what did the person say? -> [TEXT:t,level=character]"
NOTES = {"a": 300, "b": 500, "c": 800, "d": 1300}
RATE = 16_000


def registry():
    return ClosedRegistry().register(TEXT, SPEECH)


def tune(text, length=0.25):
    """One tone for each letter."""
    seconds = np.arange(int(length * RATE)) / RATE
    fade = np.minimum(1, 20 * np.minimum(seconds, length - seconds))
    parts = [fade * np.sin(2 * np.pi * NOTES[letter] * seconds) for letter in text]
    return {"array": 0.5 * np.concatenate(parts).astype(np.float32), "sampling_rate": RATE}


def rows():
    texts = [a + b for a in NOTES for b in NOTES] + ["abc", "cab", "dad", "bad"]
    return [{"wav": tune(text), "t": text} for text in texts]


@pytest.fixture(scope="module")
def listener(tmp_path_factory):
    losses = [
        {"criterion": "cross_entropy", "hidden": "t"},
        {"criterion": "ctc", "hidden": "wav", "labels": "t", "head": "ctc", "weight": 0.5},
    ]
    task = Task("hear", LINE, train=rows(), losses=losses)
    model = Generalist.create([task], registry=registry(), **SIZES)
    model.fit(
        steps=150,
        samples=10,
        out=tmp_path_factory.mktemp("run"),
        precision="fp32",
        optimizer={"lr": 4e-3},
    )
    return model


def test_what_was_said_is_written_down(listener):
    found = [output.text for output in listener.infer("hear", [{"wav": r["wav"]} for r in rows()])]
    assert np.mean([a == r["t"] for a, r in zip(found, rows(), strict=True)]) > 0.8


@pytest.mark.parametrize(
    ("generator", "options"),
    [("ctc", {}), ("ctc", {"beam": 4}), ("ctc_attention", {"beam": 3, "ctc_weight": 0.5})],
)
def test_ctc_writes_down_what_was_said(listener, generator, options):
    line = LINE.replace("level", f"generator={generator},level")
    asked = [{"wav": row["wav"]} for row in rows()]
    found = [output.text for output in listener.infer(line, asked, **options)]
    assert np.mean([a == row["t"] for a, row in zip(found, rows(), strict=True)]) > 0.8


def test_candidates_of_ctc_have_the_probability_of_all_alignments(listener):
    line = LINE.replace("level", "generator=ctc,level")
    output = listener.infer(line, {"wav": tune("ab")}, beam=8, n_best=3)
    scores = [candidate.log_prob for candidate in output.candidates["t"]]
    closed = LINE.replace("level", "generator=ctc,closed_set,level")
    texts = [candidate.value for candidate in output.candidates["t"]]
    exact = listener.infer(closed, {"wav": tune("ab")}, closed_set={"t": texts}, n_best=3)
    right = {candidate.value: candidate.log_prob for candidate in exact.candidates["t"]}
    assert np.exp(list(right.values())).sum() == pytest.approx(1)
    among = scores - np.logaddexp.reduce(scores)
    assert among == pytest.approx([right[text] for text in texts], abs=0.05)
    assert scores == sorted(scores, reverse=True) and sum(map(np.exp, scores)) <= 1 + 1e-5


def test_the_slot_that_is_listened_to_may_be_named(listener):
    line = f"listen: {LINE.replace('level', 'generator=ctc,level')}"
    assert listener.infer(line, {"wav": tune("ab")}, listen="wav").text
    with pytest.raises(UserError, match="option listen: row 0 has no value of 'sound'"):
        listener.infer(line, {"wav": tune("ab")}, listen="sound")


def test_a_model_that_did_not_learn_ctc_says_so():
    sizes = {**SIZES, "hidden": 16, "ffn": 16}
    model = Generalist.create([Task("hear", LINE, train=rows())], registry=registry(), **sizes)
    with pytest.raises(UserError, match="no head 'ctc'"):
        model.infer(LINE.replace("level", "generator=ctc,level"), {"wav": tune("ab")})
