"""A model that learns to say what it reads, by flow matching; how long it speaks; files of what it says."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from ofa_kit import ClosedRegistry
from ofa_modality_speech.flow import FlowCorruption
from ofa_modality_speech.flow_generator import Stage
from ofa_modality_speech.metrics.cepstrum import MelCepstralDistance
from ofa_modality_speech.shapes import packed
from ofacore import Generalist, Task
from ofacore.plugin import UserError
from ofacore.protocols import DenseSegment

TEXT, SPEECH = "ofa_modality_text.manifest:MANIFEST", "ofa_modality_speech.manifest:MANIFEST"
BINS = {"bins": 20, "max_frames_per_step": 2}
SIZES = {
    "preset": "tiny",
    "hidden": 64,
    "ffn": 128,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "dropout": 0.0,
    "options": {"preprocessor/audio": BINS, "adapter/audio_fbank": {"channels": 4}},
}
LINE = "say [TEXT:t,level=character] -> [AUDIO:wav,n_frames_per_step=2]"
RATE = 22_050
NOTES = {"low": (250, 0.25), "middle": (900, 0.4), "highest": (3000, 0.6)}


def tone(word):
    pitch, length = NOTES[word]
    seconds = np.arange(int(length * RATE)) / RATE
    return {
        "array": (0.5 * np.sin(2 * np.pi * pitch * seconds)).astype(np.float32),
        "sampling_rate": RATE,
    }


@pytest.fixture(scope="module")
def speaker(tmp_path_factory):
    rows = [{"t": word, "wav": tone(word)} for word in NOTES]
    losses = [
        {"criterion": "squared_error", "hidden": "wav"},
        {"criterion": "audio_length", "hidden": "t", "labels": "wav", "head": "audio_length"},
    ]
    task = Task("say", LINE, train=rows, losses=losses, prompt_slot="t", drop_prompt=0.1)
    model = Generalist.create([task], registry=ClosedRegistry().register(TEXT, SPEECH), **SIZES)
    folder = tmp_path_factory.mktemp("run")
    model.fit(steps=250, samples=6, out=folder, precision="fp32", optimizer={"lr": 3e-3})
    return model


def distance(answer, word):
    metric = MelCepstralDistance({})
    metric.update([{"array": answer["array"], "sampling_rate": RATE}], [tone(word)], [{}])
    return metric.compute()["mel_cepstral_distance"]


@pytest.mark.parametrize("options", [{"steps": 8}, {"steps": 8, "guidance": 1.5}])
def test_every_word_sounds_like_itself(speaker, options):
    for word in NOTES:
        answer = speaker.infer("say", {"t": word}, lengths="predicted", text="t", **options).audio
        near = {other: distance(answer, other) for other in NOTES}
        assert min(near, key=near.get) == word


def test_lengths_are_predicted_from_the_text(speaker):
    found = speaker.infer("say", [{"t": w} for w in NOTES], lengths="predicted", text="t", steps=1)
    seconds = [len(output.audio["array"]) / RATE for output in found]
    assert seconds == pytest.approx([length for _, length in NOTES.values()], abs=0.08)


def test_what_the_slot_says_goes_before_the_prediction(speaker):
    line = LINE.replace("n_frames", "seconds=1,n_frames")
    output = speaker.infer(line, {"t": "low"}, lengths="predicted", text="t", steps=1)
    assert len(output.audio["frames"]) == 87 and output.audio["sampling_rate"] == RATE


@pytest.mark.parametrize("ending", [".wav", ".flac"])
def test_answers_become_files(speaker, tmp_path, ending):
    output = speaker.infer("say", {"t": "low"}, steps=2)
    output.save(tmp_path / f"a{ending}")
    samples, rate = soundfile.read(tmp_path / f"a{ending}", dtype="float32")
    right = output.audio["array"] / max(1.0, np.abs(output.audio["array"]).max())
    assert rate == RATE and np.abs(samples - right).max() < 1e-3
    assert "<audio controls" in output.html() and "spectrogram" in output.html()
    with pytest.raises((ValueError, UserError), match=".wav"):
        output.save(tmp_path / "a.docx")


def test_the_direction_leads_from_noise_to_sound():
    rng = np.random.default_rng(0)
    clean = rng.standard_normal((5, 3)).astype(np.float32)
    level = np.zeros(3, np.float32)
    labels = {"values": packed(clean, 2, 8), "mask": packed(np.ones((5, 3), bool), 2, 8)}
    segment = DenseSegment({"frames": clean, "level": level}, (5, 2), labels)
    noised = FlowCorruption({})(segment, np.random.default_rng(1))
    stage = Stage(None, ((5, 2),), 3)
    way = stage.unpacked(torch.from_numpy(noised.labels["values"])).numpy()
    share = noised.features["level"][0]
    assert np.allclose(noised.features["frames"] + share * way, clean, atol=1e-6)
    assert noised.context is segment.features and noised.shape == segment.shape
