"""Scores of sounds: warping against all paths, distances, durations."""

from __future__ import annotations

import sys
from functools import cache

import numpy as np
import pytest

from ofa_kit import MetricConformance
from ofa_modality_speech.metrics.cepstrum import MelCepstralDistance
from ofa_modality_speech.metrics.durations import DurationCorrelation
from ofa_modality_speech.metrics.quality import SpeechQuality
from ofa_modality_speech.metrics.warping import warped
from ofa_modality_speech.sample import RATE, sound
from ofa_modality_speech.wave import faster
from ofacore.plugin import UserError

PLUGIN = "ofa_modality_speech.manifest:MANIFEST"


def played(factor):
    return {"array": faster(sound()["array"], factor), "sampling_rate": RATE}


def noise(length):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, length).astype(np.float32)
    return {"array": samples, "sampling_rate": RATE}


class _Sounds(MetricConformance):
    plugin = PLUGIN
    references = [played(factor) for factor in (1.0, 0.5, 2.0, 1.25)]
    predictions = [played(1.0), noise(9000), played(1.6), noise(4000)]


class TestMelCepstralDistance(_Sounds):
    metric = "mel_cepstral_distance"
    bounds = (0.0, np.inf)


class TestDurationCorrelation(_Sounds):
    metric = "duration_correlation"
    bounds = (-1.0, 1.0)


def by_recursion(distances):
    """Cost and pairs of the cheapest path, by looking at all of them."""

    @cache
    def best(row, column):
        if row == column == 0:
            return distances[0, 0], 1
        ways = [(row - 1, column - 1), (row - 1, column), (row, column - 1)]
        cost, pairs = min(best(*way) for way in ways if min(way) >= 0)
        return cost + distances[row, column], pairs + 1

    return best(distances.shape[0] - 1, distances.shape[1] - 1)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (4, 1), (6, 9), (8, 3)])
def test_the_cheapest_path_is_found(shape):
    distances = np.random.default_rng(shape[0]).uniform(size=shape)
    assert warped(distances) == pytest.approx(by_recursion(distances))


def score(prediction, reference):
    metric = MelCepstralDistance({})
    metric.update([prediction], [reference], [{}])
    return metric.compute()["mel_cepstral_distance"]


def test_a_sound_is_nearer_to_itself_than_to_noise_whatever_its_tempo():
    stretched = {**sound(), "array": np.repeat(sound()["array"].reshape(-1, 400), 2, 0).reshape(-1)}
    assert score(sound(), sound()) == 0
    assert score(stretched, sound()) < 0.7 * score(noise(6400), sound())


def test_of_several_references_the_nearest_counts():
    metric = MelCepstralDistance({"coefficients": 13})
    given, other, loud = played(1.0), noise(9000), (noise(4000)["array"], RATE)
    metric.update([given] * 3, [[other, given], [other, loud], other], [{}] * 3)
    best, nearest, alone = metric.items()
    assert best == 0 and 0 < nearest <= alone


def test_loudness_does_not_count():
    quiet = {**noise(6400), "array": 0.5 * noise(6400)["array"]}
    assert score(quiet, noise(6400)) < 0.1


def test_all_cepstra_together_are_the_distance_of_the_spectra():
    """Parseval: 2 sum c_k^2 is the mean square of what the cosine series stands for, without its mean."""
    ours, theirs = np.random.default_rng(0).normal(size=(2, 1, 80))
    metric = MelCepstralDistance({"coefficients": 80})
    metric.update([{**sound(), "frames": ours}], [{**sound(), "frames": theirs}], [{}])
    right = 10 / np.log(10) * (ours - theirs).std()
    assert metric.compute()["mel_cepstral_distance"] == pytest.approx(right, rel=1e-5)


def test_frames_that_an_answer_brings_are_taken():
    frames = np.random.default_rng(0).normal(size=(9, 80))
    assert score({**sound(), "frames": frames}, {**noise(90), "frames": frames}) == 0


def test_equal_lengths_have_no_correlation():
    metric = DurationCorrelation({})
    metric.update([played(1.0)] * 3, [played(2.0)] * 3, [{}] * 3)
    assert np.isnan(metric.compute()["duration_correlation"])


def test_quality_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "speechmos", None)
    with pytest.raises(UserError, match="pip install speechmos"):
        SpeechQuality({}).update([sound()], [sound()], [{}])
