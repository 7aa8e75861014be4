"""Values of every form become the same samples; bad ones are told by name."""

from __future__ import annotations

import base64
import io

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_modality_speech.loading import Features, Loader
from ofa_modality_speech.sample import RATE, sound
from ofa_modality_speech.values import is_audio
from ofa_modality_speech.wave import as_floats
from ofacore.protocols import RowError

SAMPLES = sound()["array"]


def load(value, **options):
    return Loader("wav", **options).load(value)


def content(form="WAV", samples=SAMPLES, rate=RATE, **options):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, **options)
    return buffer.getvalue()


def written(path, form="WAV", **options):
    path.write_bytes(content(form, **options))
    return path


def encoded(path, codec, rate=RATE):
    """A file by PyAV."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(SAMPLES[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    return path


def close(wave, tolerance=1e-3):
    assert wave.rate == RATE
    assert np.allclose(wave.mono()[: len(SAMPLES)], SAMPLES, atol=tolerance)


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_files_of_every_kind(tmp_path, ending):
    path = written(tmp_path / f"a.{ending}", ending.upper())
    for value in (
        path,
        str(path),
        path.read_bytes(),
        {"path": str(path)},
        {"bytes": path.read_bytes()},
    ):
        assert is_audio(value)
        close(load(value))


@pytest.mark.parametrize("form", ["OGG", "MP3"])
def test_files_that_lose_something(form):
    wave = load(content(form))
    assert wave.rate == RATE
    shared = wave.mono()[: len(SAMPLES)]
    assert np.corrcoef(shared, SAMPLES[: len(shared)])[0, 1] > 0.95


@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.mkv", "aac")])
def test_files_that_only_pyav_knows(tmp_path, name, codec):
    wave = load(encoded(tmp_path / name, codec))
    assert wave.rate == RATE and abs(wave.seconds - 0.4) < 0.2
    assert 0.2 < np.abs(wave.mono()).max() < 0.8
    assert load(encoded(tmp_path / name, codec), most=0.1).samples.shape == (1, 1600)


def test_arrays_pairs_and_columns_of_hugging_face():
    for value in (sound(), (SAMPLES, RATE), {"array": SAMPLES.tolist(), "sample_rate": RATE}):
        assert is_audio(value)
        close(load(value))
    close(load({"array": (SAMPLES * 32768).astype(np.int16), "sampling_rate": RATE}))
    close(load(base64.b64encode(content()).decode()))

    class Decoder:
        def get_all_samples(self):
            return type("Samples", (), {"data": SAMPLES[None], "sample_rate": RATE})

    assert is_audio(Decoder())
    close(load(Decoder()))


def test_channels_stand_first_or_last():
    both = np.stack([SAMPLES, -SAMPLES])
    for array in (both, both.T):
        wave = load((array, RATE))
        assert wave.samples.shape == both.shape and not wave.mono().any()


def test_a_series_stays_as_it_is():
    series = np.arange(24.0).reshape(2, 12)
    for value in (series, series.tolist(), {"frames": series}):
        assert is_audio(value)
        found = load(value)
        assert isinstance(found, Features) and np.array_equal(found.frames, series)


def test_a_part_of_a_long_file_is_read_alone(tmp_path, monkeypatch):
    long = np.tile(SAMPLES, 50)
    path = written(tmp_path / "long.flac", "FLAC", samples=long)
    counts = []
    read = soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile,
        "read",
        lambda self, frames, **options: counts.append(frames) or read(self, frames, **options),
    )
    wave = load({"path": path, "start": 8.0, "end": 8.4})
    assert counts == [len(SAMPLES)]
    close(wave)
    assert load(path, most=0.1).samples.shape == (1, 1600)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
def test_whole_numbers_become_floats_as_soundfile_has_them(dtype):
    info = np.iinfo(dtype)
    found = as_floats(np.array([info.min, (int(info.min) + int(info.max) + 1) // 2], dtype))
    assert found.tolist() == [-1.0, 0.0]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 400), st.sampled_from([8000, 16000, 22050, 44100]), st.integers(1, 4))
def test_what_is_written_is_read(length, rate, channels):
    rng = np.random.default_rng(length)
    samples = rng.uniform(-0.9, 0.9, (length, channels)).astype(np.float32)
    wave = load(content(samples=samples, rate=rate, subtype="FLOAT"))
    assert wave.rate == rate and np.array_equal(wave.samples, samples.T)


def video_without_sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 16
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    return path


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("no/such.wav", "does not exist"),
        ("", "value is empty"),
        ("https://a.b/c.wav", "remote"),
        (b"", "is empty"),
        (b"nothing that sounds", "no sound that can be read"),
        (content()[:-1000], "cut: its header announces 1000 bytes"),
        (content(samples=np.zeros(0, np.float32)), "no samples"),
        ((np.zeros(0, np.float32), RATE), "no samples"),
        ((np.zeros((100, 100, 2)), RATE), "array [100, 100, 2]"),
        ((np.zeros((100, 90)), RATE), "90 channels"),
        ((SAMPLES, 0), "not the rate 0"),
        ((SAMPLES, 0.5), "not the rate 0.5"),
        ({"array": SAMPLES}, "not the rate None"),
        (SAMPLES, "need their rate"),
        ({"array": ["a"], "sampling_rate": RATE}, "no array of numbers"),
        ((np.array([np.nan, 0.0]), RATE), "not finite"),
        ({"path": None}, "'path' holds no sound"),
        ({**sound(), "start": 2.0}, "no samples"),
        ({**sound(), "start": 2.0, "end": 1.0}, "no span"),
        ({**sound(), "start": "now"}, "no seconds"),
        (np.zeros((0, 12)), "no series"),
        (7, "int is no sound"),
    ],
)
def test_bad_values_are_told_by_column(value, told):
    with pytest.raises(RowError, match="column 'wav'") as caught:
        load(value)
    assert told in str(caught.value)


def test_a_folder_and_a_video_without_sound_are_told(tmp_path):
    with pytest.raises(RowError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(RowError, match="has no audio track"):
        load(video_without_sound(tmp_path / "silent.mp4"))


def test_a_stream_of_unknown_length_is_read():
    whole = bytearray(content())
    place = whole.index(b"data") + 4
    whole[place : place + 4] = b"\xff\xff\xff\xff"
    close(load(bytes(whole)))
