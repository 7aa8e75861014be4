"""Features are those of the original's settings; what slots ask of them; masks, packing, statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_kit import ClosedRegistry
from ofa_modality_speech.features import fbank, log_mel, log_mel_frames
from ofa_modality_speech.masking import hidden_spans, spec_augmented
from ofa_modality_speech.preprocessor import AudioPreprocessor
from ofa_modality_speech.sample import RATE, sound
from ofa_modality_speech.shapes import packed, positions_of, subsampled, used_mask
from ofa_modality_speech.subsampling import ConvolutionalSubsampling
from ofa_modality_speech.wave import faster, resampled
from ofacore.plan import compile_task
from ofacore.protocols import Hypothesis, RowContext, RowError, Vocabulary

SAMPLES = sound()["array"]
TEXT, SPEECH = "ofa_modality_text.manifest:MANIFEST", "ofa_modality_speech.manifest:MANIFEST"


def slot(attributes="", side="source"):
    registry = ClosedRegistry().register(TEXT, SPEECH)
    value = f"[AUDIO:wav{attributes}]"
    line = f"{value} -> [TEXT:t]" if side == "source" else f"[TEXT:t] -> {value}"
    return compile_task("t", line, registry).templates[0].named("wav")


def context(split="test", **row):
    return RowContext(row, "t", split, np.random.default_rng(0))


def fitted(values=(), options=None, side="target", attributes=""):
    made = AudioPreprocessor({"bins": 80, "max_frames_per_step": 4, **(options or {})})
    plan = slot(attributes, side)
    artifact = made.fit_slots(((plan, value) for value in values), np.random.default_rng(0))
    made.bind(Vocabulary(()), artifact)
    return made


def encoded(value, attributes="", split="test", values=(), side="source"):
    made = fitted(values, side=side, attributes=attributes)
    (segment,) = made.encode(value, slot(attributes, side), context(split))
    return segment


def test_filterbanks_are_kaldis():
    right = torchaudio.compliance.kaldi.fbank(
        torch.from_numpy(SAMPLES)[None] * 32768, num_mel_bins=80, sample_frequency=16000.0
    )
    assert np.allclose(fbank(SAMPLES, RATE, 80), right.numpy(), atol=1e-4)


def test_log_mel_has_the_magnitudes_of_the_bands():
    rate = 22_050
    spectrum = torch.stft(
        torch.from_numpy(SAMPLES), 1024, 256, window=torch.hann_window(1024), return_complex=True
    ).abs()
    bands = torchaudio.functional.melscale_fbanks(
        513, 0.0, 8000.0, 80, rate, norm="slaney", mel_scale="slaney"
    )
    right = (spectrum.T @ bands).clamp(min=1e-5).log()
    assert np.allclose(log_mel(SAMPLES, rate, 80), right.numpy(), atol=1e-3)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3000))
def test_every_length_has_frames(length):
    samples = np.zeros(length, np.float32)
    assert len(log_mel(samples, 22_050, 20)) == log_mel_frames(length)
    assert len(fbank(samples, RATE, 20)) == 1 + max(0, length - 400) // 160


def test_a_sound_is_the_same_at_every_rate():
    there = resampled(SAMPLES, RATE, 44_100)
    back = resampled(there, 44_100, RATE)
    assert len(there) == round(len(SAMPLES) * 44_100 / RATE)
    assert np.abs(back - SAMPLES)[200:-200].max() < 0.02


def test_twice_as_fast_is_half_as_long():
    assert len(faster(SAMPLES, 2.0)) == len(SAMPLES) // 2
    assert faster(SAMPLES, 1.0) is SAMPLES


def test_a_clip_is_normalised_by_itself():
    frames = encoded(sound()).features["frames"]
    assert np.abs(frames.mean(0)).max() < 1e-4 and np.abs(frames.std(0) - 1).max() < 1e-3


def test_silence_is_zero():
    silence = {"array": np.zeros(8000, np.float32), "sampling_rate": RATE}
    assert not encoded(silence).features["frames"].any()


@pytest.mark.parametrize("length", [1, 399, 400, 1000])
def test_the_shortest_sounds_are_read_and_written(length):
    short = {"array": SAMPLES[:length], "sampling_rate": RATE}
    assert encoded(short).features["level"].shape == (1,)
    written = encoded(short, values=[sound()], side="target")
    assert written.shape[0] >= 1 and np.isfinite(written.labels["values"]).all()


def test_ten_minutes_are_cut_at_the_most_that_is_wanted():
    long = {"array": np.tile(SAMPLES, 1500), "sampling_rate": RATE}
    assert encoded(long, ",max_seconds=600").shape == (59_998,)
    assert encoded(long, ",max_seconds=1").shape == (98,)


def test_a_series_is_padded_and_normalised_by_all():
    rng = np.random.default_rng(0)
    values = [rng.normal(3, 2, (20, 12)) for _ in range(9)]
    segment = encoded(values[0], values=values, side="source")
    frames = np.stack([encoded(v, values=values).features["frames"] for v in values])
    assert segment.shape == (20,) and not frames[..., 12:].any()
    assert abs(frames[..., :12].mean()) < 1e-4 and abs(frames[..., :12].std() - 1) < 1e-3
    with pytest.raises(RowError, match="was fitted on no features series/11"):
        encoded(values[0][:, :11], values=values)


def test_attributes_of_reading():
    stereo = {"array": np.stack([SAMPLES, 0 * SAMPLES]), "sampling_rate": RATE}
    second = encoded(stereo, ",channel=1,normalize=none").features["frames"]
    assert np.ptp(second) == 0
    with pytest.raises(RowError, match="channel=2, but the sound has 2"):
        encoded(stereo, ",channel=2")
    with pytest.raises(RowError, match="less than min_seconds=0.5"):
        encoded(sound(), ",min_seconds=0.5")
    with pytest.raises(RowError, match="0.9/1/1.1"):
        encoded(sound(), ",speed=a/b", "train")
    assert encoded(sound(), ",speed=2/2", "train").shape == (18,)
    assert encoded(sound(), ",speed=2/2").shape == encoded(sound()).shape == (38,)
    assert encoded(sound(), ",features=log_mel,sample_rate=8000").shape == (13,)


def test_what_training_hides_it_hides_by_its_generator():
    clean = encoded(sound(), split="train").features["frames"]
    frames = encoded(sound(), ",spec_augment", "train").features["frames"]
    changed = frames != clean
    assert 0 < changed.mean() < 0.9 and not frames[changed].any()
    assert np.array_equal(encoded(sound(), ",spec_augment").features["frames"], clean)
    hidden = encoded(sound(), ",use_mask", "train").features["level"]
    assert set(hidden) == {0.0, 1.0} or set(hidden) == {1.0}
    assert not encoded(sound(), ",use_mask").features["level"].any()


def test_about_half_of_the_positions_are_hidden():
    rng = np.random.default_rng(0)
    shares = [hidden_spans(400, 0.65, 10, rng).mean() for _ in range(50)]
    assert 0.42 < np.mean(shares) < 0.55
    assert hidden_spans(1, 0.65, 10, rng).tolist() == [True]


def test_no_stretch_is_longer_than_its_share():
    frames = np.ones((50, 80), np.float32)
    rng = np.random.default_rng(0)
    for _ in range(50):
        gone = spec_augmented(frames, rng) == 0
        assert gone.all(1).sum() <= 20 and gone.all(0).sum() <= 54


@given(st.integers(1, 30), st.integers(1, 4))
def test_packed_frames_hold_every_number_once(frames, step):
    values = np.arange(1.0, frames * 3 + 1).reshape(frames, 3)
    rows, mask = packed(values, step, 14), used_mask(frames, 3, step, 14)
    assert len(rows) == positions_of((frames, step))
    assert np.array_equal(np.sort(rows[mask]), values.reshape(-1)) and not rows[~mask].any()
    assert np.array_equal(rows[:, : 3 * step].reshape(-1, 3)[:frames], values)


@pytest.mark.parametrize("frames", [1, 6, 7, 8, 20, 101])
def test_convolutions_give_as_many_positions_as_announced(frames):
    torch.manual_seed(0)
    layers = ConvolutionalSubsampling(16, 4, 8)
    clip, other = torch.randn(frames, 16), torch.randn(57, 16)
    alone, beside = layers([clip])[0], layers([other, clip])[1]
    assert len(alone) == subsampled(frames) == positions_of((frames,))
    assert torch.allclose(alone, beside, atol=1e-5)


def test_what_is_written_comes_back():
    made = fitted([sound()])
    plan, ctx = slot(side="target"), context()
    (segment,) = made.encode(sound(), plan, ctx)
    answer = made.decode(Hypothesis(segment.features["frames"]), plan, ctx)
    right = made.as_decoded(sound(), plan, ctx)
    assert np.allclose(answer["frames"], right["frames"], atol=1e-3)
    assert abs(len(answer["array"]) - len(right["array"])) <= 256
    again = log_mel(answer["array"], 22_050, 80)[: len(right["frames"])]
    loud = right["frames"][: len(again)] > -4
    assert np.abs(again - right["frames"][: len(again)])[loud].mean() < 0.5


@pytest.mark.parametrize(
    ("attributes", "row", "frames"),
    [
        (",seconds=1", {}, 87),
        (",seconds=long", {"long": "0.5"}, 44),
        ("", {"wav": sound()}, 35),
        ("", {}, 35),
        (",n_frames_per_step=4,seconds=1", {}, 87),
    ],
)
def test_how_long_it_becomes(attributes, row, frames):
    made, plan, ctx = fitted([sound()]), slot(attributes, "target"), context(**row)
    spec = made.expect(plan, ctx)
    step = int(plan.attributes["n_frames_per_step"])
    assert spec.length == -(-frames // step)


@pytest.mark.parametrize(
    ("attributes", "row", "told"),
    [
        (",seconds=long", {}, "neither a number nor a column"),
        (",seconds=long", {"long": "soon"}, "no number of seconds"),
        (",seconds=0", {}, "no length of a sound"),
        (",n_frames_per_step=5", {}, "max_frames_per_step is 4"),
    ],
)
def test_lengths_that_cannot_be(attributes, row, told):
    with pytest.raises(RowError, match=told):
        fitted([sound()]).expect(slot(attributes, "target"), context(**row))
