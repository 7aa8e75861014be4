"""Sounds that are written frame by frame, guided along the text; sounds of which something was hidden."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from ofa_kit import ClosedRegistry
from ofa_modality_speech.masked import hidden_labels
from ofa_modality_speech.metrics.cepstrum import MelCepstralDistance
from ofa_modality_speech.tacotron_criteria import GuidedStepCriterion, StepCriterion
from ofa_modality_speech.tacotron_modules import Postnet, StepPrediction
from ofacore import Generalist, Task
from ofacore.protocols import CriterionContext

TEXT, SPEECH = "ofa_modality_text.manifest:MANIFEST", "ofa_modality_speech.manifest:MANIFEST"
RATE = 22_050
NOTES = {"low": (250, 0.2), "highest": (3000, 0.4)}
BINS = {"bins": 20, "max_frames_per_step": 2}
SIZES = {
    "preset": "tiny",
    "hidden": 64,
    "ffn": 128,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "dropout": 0.0,
    "options": {
        "preprocessor/audio": BINS,
        "preprocessor/audio_steps": BINS,
        "adapter/audio_fbank": {"channels": 4},
        "head/audio_steps": {"postnet": 16},
        "head/audio_masked": {"bins": 20},
    },
}


def tone(word):
    pitch, length = NOTES[word]
    seconds = np.arange(int(length * RATE)) / RATE
    samples = 0.5 * np.sin(2 * np.pi * pitch * seconds)
    return {"array": samples.astype(np.float32), "sampling_rate": RATE}


def made(*tasks):
    registry = ClosedRegistry().register(TEXT, SPEECH)
    return Generalist.create(list(tasks), registry=registry, **SIZES)


def test_words_are_said_frame_by_frame_and_end_themselves(tmp_path):
    line = (
        "say [TEXT:t,level=character] -> "
        "[AUDIO:wav,preprocess=audio_steps,n_frames_per_step=2,criterion=audio_steps_guided]"
    )
    rows = [{"t": word, "wav": tone(word)} for word in NOTES]
    model = made(Task("say", line, train=rows))
    model.fit(steps=150, samples=6, out=tmp_path, precision="fp32", optimizer={"lr": 3e-3})
    for word, (_, length) in NOTES.items():
        answer = model.infer("say", {"t": word}, max_frames=80).audio
        assert abs(len(answer["array"]) / RATE - length) < 0.1
        near = {}
        for other in NOTES:
            metric = MelCepstralDistance({})
            metric.update([{**answer, "frames": None}], [tone(other)], [{}])
            near[other] = metric.compute()["mel_cepstral_distance"]
        assert min(near, key=near.get) == word
    asked = line.replace("n_frames", "seconds=0.3,n_frames")
    assert len(model.infer(asked, {"t": "low"}).audio["frames"]) == 26


def test_losses_of_steps_are_those_of_torch():
    generator = torch.Generator().manual_seed(0)
    before, after, values = (torch.randn(5, 4, generator=generator) for _ in range(3))
    ends, stop = torch.randn(5, generator=generator), torch.tensor([0.0, 1, 0, 0, 1])
    labels = {"values": values, "mask": torch.ones(5, 4, dtype=torch.bool), "stop": stop}
    ctx = CriterionContext((2, 3), {})
    loss = StepCriterion({"stop_weight": 5.0})(StepPrediction(before, after, ends), labels, ctx)
    for item, part in enumerate((slice(0, 2), slice(2, 5))):
        right = sum(
            torch.nn.L1Loss()(frames[part], values[part])
            + torch.nn.MSELoss()(frames[part], values[part])
            for frames in (before, after)
        ) * (part.stop - part.start)
        ended = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(5.0), reduction="sum")
        assert float(loss.values[item]) == pytest.approx(
            float(right + ended(ends[part], stop[part])), abs=1e-5
        )


def guide(attention):
    criterion = GuidedStepCriterion({"stop_weight": 0.0, "guide_weight": 1.0, "sigma": 0.4})
    steps = attention.shape[1]
    zero = torch.zeros(steps, 2)
    labels = {"values": zero, "mask": zero == 0, "stop": zero[:, 0]}
    ctx = CriterionContext((steps,), {}, [[attention]])
    return float(criterion(StepPrediction(zero, zero, zero[:, 0]), labels, ctx).parts["guide"])


def test_attention_along_the_text_costs_less_than_attention_away_from_it():
    along = torch.eye(8)[None].repeat(2, 1, 1)
    assert guide(along) == pytest.approx(0.0, abs=1e-6)
    assert guide(along.flip(2)) > guide(torch.full((2, 8, 8), 1 / 8)) > 0
    right = sum(1 - np.exp(-((n / 8 - 3 / 8) ** 2) / (2 * 0.4**2)) for n in range(8))
    third = torch.zeros(1, 8, 8)
    third[:, :, 3] = 1
    assert guide(third) == pytest.approx(right, abs=1e-5)


def test_sounds_do_not_mix_in_the_postnet():
    torch.manual_seed(0)
    postnet = Postnet(6, 8, 0.5).eval()
    clips = [torch.randn(n, 6) for n in (3, 9, 1)]
    alone = torch.cat([postnet([clip]) for clip in clips])
    assert torch.allclose(postnet(clips), alone, atol=1e-5)


def test_labels_of_what_was_hidden_are_the_frames_of_each_position():
    frames = np.arange(22.0, dtype=np.float32).reshape(11, 2)
    labels = hidden_labels(frames, np.array([True, False, True]))
    assert labels["values"].shape == (3, 8)
    assert labels["values"][1].tolist() == frames[4:8].reshape(-1).tolist()
    assert labels["values"][2, 6:].tolist() == [0, 0]


def test_a_model_learns_what_was_hidden(tmp_path):
    line = "[AUDIO:wav,use_mask] -> [TEXT:t,level=character]"
    losses = [
        {"criterion": "cross_entropy", "hidden": "t"},
        {"criterion": "audio_masked", "hidden": "wav", "head": "audio_masked"},
    ]
    rows = [{"t": word, "wav": tone(word)} for word in NOTES]
    model = made(Task("hear", line, train=rows, losses=losses))
    model.fit(
        steps=60,
        samples=6,
        out=tmp_path,
        precision="fp32",
        optimizer={"lr": 3e-3},
        log_every=5,
    )
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    values = [json.loads(line)["train/hear/wav"] for line in lines if '"train/hear/wav"' in line]
    assert values[-1] < 0.7 * values[0]
