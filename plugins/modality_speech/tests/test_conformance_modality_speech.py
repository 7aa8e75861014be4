"""The conformance kit on this plugin."""

import numpy as np

from ofa_kit import (
    AdapterConformance,
    CriterionConformance,
    GeneratorConformance,
    ModalityConformance,
)
from ofa_kit.compare import difference
from ofa_modality_speech.sample import sound

PLUGIN = "ofa_modality_speech.manifest:MANIFEST"
SMALL = {
    "adapters": {"audio_fbank": {"bins": 16, "max_frames_per_step": 2, "channels": 8}},
    "heads_options": {"audio_frames": {"bins": 16, "max_frames_per_step": 2}},
    "preprocessors": {"audio": {"bins": 16, "max_frames_per_step": 2}},
}


def shorter(share):
    whole = sound()
    samples = whole["array"]
    return {**whole, "array": samples[: int(len(samples) * share)]}


SOUNDS = [sound(), shorter(0.5), shorter(0.8)]


class TestAudio(ModalityConformance):
    plugin = PLUGIN
    values = SOUNDS
    bad_values = (object(), np.zeros(3), "no/such.wav", b"", (np.zeros(0), 16000), (np.ones(9), 0))
    model = SMALL

    def hypothesis(self, segments):
        (segment,) = segments
        return segment.features["frames"]

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
