"""The conformance kit on this plugin."""

import numpy as np
import pytest

from ofa_kit import (
    AdapterConformance,
    CriterionConformance,
    GeneratorConformance,
    ModalityConformance,
)
from ofa_kit.compare import difference
from ofa_modality_speech.sample import sound
from ofa_modality_speech.tacotron_modules import StepPrediction

PLUGIN = "ofa_modality_speech.manifest:MANIFEST"
SMALL = {
    "adapters": {"audio_fbank": {"channels": 8}},
    "preprocessors": {
        "audio": {"bins": 16, "max_frames_per_step": 2},
        "audio_steps": {"bins": 16, "max_frames_per_step": 2},
    },
    "heads_options": {"audio_steps": {"postnet": 8}},
}


def shorter(share):
    whole = sound()
    samples = whole["array"]
    return {**whole, "array": samples[: int(len(samples) * share)]}


SOUNDS = [shorter(0.5), shorter(0.25), shorter(0.4)]


class TestAudio(ModalityConformance):
    plugin = PLUGIN
    values = SOUNDS
    bad_values = (object(), np.zeros(3), "no/such.wav", b"", (np.zeros(0), 16000), (np.ones(9), 0))
    model = SMALL

    def hypothesis(self, segments):
        (segment,) = segments
        return segment.labels["values"][segment.labels["mask"]].reshape(-1, 16)

    def compare(self, given, decoded):
        """Phases are made up by Griffin-Lim: what is heard are the magnitudes."""
        if not isinstance(given, dict) or "frames" not in decoded:
            return difference(given, decoded, self.tolerance)
        if "frames" not in given:
            return ""
        return difference(given["frames"], decoded["frames"], self.tolerance)


class TestAudioAdapter(AdapterConformance):
    plugin = PLUGIN
    adapter = "audio_fbank"
    values = SOUNDS


class TestFlowGenerator(GeneratorConformance):
    plugin = PLUGIN
    generator = "audio_flow"
    values = SOUNDS
    model = SMALL
    generation = ({}, {"sway": 0.0, "steps": 2})


class TestCtc(CriterionConformance):
    plugin = PLUGIN
    criterion = "ctc"
    head = "ctc"
    lengths = (6, 3, 8)

    def labels(self, length, item, rng):
        return {"ids": rng.integers(6, 10, length // 3)}


class TestAudioLength(CriterionConformance):
    plugin = PLUGIN
    criterion = "audio_length"
    head = "audio_length"

    def labels(self, length, item, rng):
        return {
            "values": rng.standard_normal((length, 6)).astype(np.float32),
            "mask": np.ones((length, 6), bool),
        }


class TestPhone(ModalityConformance):
    plugin = PLUGIN
    slot = "PHONE"
    values = ("HH AH0 L OW1", "W ER1 L D | P IY1 S", "AA")
    bad_values = ("", "HH XX", 7, object())


class TestTextPhone(TestPhone):
    attributes = "preprocess=text_phone"
    values = ("hello", "Hello, world!", "world hello")
    bad_values = ("", "hullo", "12", object())

    @pytest.fixture(autouse=True)
    def words(self, tmp_path, monkeypatch):
        path = tmp_path / "words.dict"
        path.write_text("hello HH AH0 L OW1\nhello(2) HH EH0 L OW1\nworld W ER1 L D # of CMU\n")
        options = {"preprocessors": {"text_phone": {"dictionary": str(path)}}}
        monkeypatch.setattr(type(self), "model", options)

    def compare(self, given, decoded):
        """What is produced are phonemes, of a text too."""
        if given == decoded:
            return ""
        spoken = {"hello": "HH AH0 L OW1", "world": "W ER1 L D"}
        words = "".join(c for c in given.lower() if c.isalpha() or c == " ").split()
        known = all(word in spoken for word in words)
        right = " | ".join(spoken[word] for word in words) if known else given
        return difference(right, decoded)


class TestSteps(TestAudio):
    attributes = "preprocess=audio_steps"


class TestStepAdapter(AdapterConformance):
    plugin = PLUGIN
    adapter = "audio_tgt_fbank"
    attributes = "preprocess=audio_steps"
    values = SOUNDS
    model = SMALL


class TestStepGenerator(GeneratorConformance):
    plugin = PLUGIN
    generator = "audio_steps"
    attributes = "preprocess=audio_steps"
    values = SOUNDS
    model = SMALL
    generation = ({"max_frames": 5}, {"max_frames": 6, "stop_threshold": 0.4})


class TestStepCriterion(CriterionConformance):
    plugin = PLUGIN
    criterion = "audio_steps"

    def prediction(self, states, ctx):
        return StepPrediction(states[:, :8], states[:, 8:16], states[:, 16])

    def labels(self, length, item, rng):
        return {
            "values": rng.standard_normal((length, 8)).astype(np.float32),
            "mask": np.ones((length, 8), bool),
            "stop": np.eye(1, length, length - 1, dtype=np.float32)[0],
        }


class TestGuidedStepCriterion(TestStepCriterion):
    criterion = "audio_steps_guided"


class TestMaskedCriterion(CriterionConformance):
    plugin = PLUGIN
    criterion = "audio_masked"
    head = "audio_masked"
    head_options = {"bins": 8}

    def labels(self, length, item, rng):
        return {
            "values": rng.standard_normal((length, 32)).astype(np.float32),
            "hidden": np.ones(length, bool),
        }
