"""Vocoders: Griffin-Lim gives back the pitch; a HiFi-GAN is the same from either kind of folder."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from ofa_modality_speech.features import log_mel
from ofa_modality_speech.hifigan import load_hifigan
from ofa_modality_speech.vocoders import waveform
from ofacore.plugin import PluginError

RATE = 22_050
SIZES = {
    "upsample_initial_channel": 8,
    "upsample_rates": [16, 16],
    "upsample_kernel_sizes": [32, 32],
    "resblock_kernel_sizes": [3, 5],
    "resblock_dilation_sizes": [[1, 3], [1, 3]],
}


@pytest.mark.parametrize("frequency", [220.0, 1000.0, 3000.0])
def test_griffin_lim_gives_back_the_pitch(frequency):
    seconds = np.arange(RATE // 2) / RATE
    tone = (0.5 * np.sin(2 * np.pi * frequency * seconds)).astype(np.float32)
    samples = waveform(log_mel(tone, RATE, 80), RATE)
    spectrum = np.abs(np.fft.rfft(samples))
    found = np.argmax(spectrum) * RATE / len(samples)
    assert abs(len(samples) - len(tone)) <= 256 and abs(found - frequency) < 0.06 * frequency


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_the_shortest_series_have_samples(frames):
    samples = waveform(np.full((frames, 80), -3.0, np.float32), RATE)
    assert len(samples) == max(1, frames - 1) * 256 and np.isfinite(samples).all()


def normed(name, weight):
    """A weight as the authors' program stores it."""
    size = weight.flatten(1).norm(dim=1).reshape(-1, *[1] * (weight.dim() - 1))
    stem = name.replace("upsampler.", "ups.").removesuffix(".weight")
    return {f"{stem}.weight_g": size, f"{stem}.weight_v": weight * 3}


@pytest.fixture
def generator():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.SpeechT5HifiGanConfig(**SIZES, sampling_rate=RATE, normalize_before=False)
    return transformers.SpeechT5HifiGan(config).eval()


def test_both_kinds_of_folders_give_the_same_samples(generator, tmp_path):
    theirs, own = tmp_path / "transformers", tmp_path / "authors"
    generator.save_pretrained(theirs)
    own.mkdir()
    (own / "config.json").write_text(json.dumps({**SIZES, "num_mels": 80}))
    state = {}
    for name, values in generator.state_dict().items():
        if name.endswith(".weight"):
            state |= normed(name, values)
        elif name not in ("mean", "scale"):
            state[name.replace("upsampler.", "ups.")] = values
    torch.save({"generator": state}, own / "g_00001")
    frames = np.random.default_rng(0).normal(size=(6, 80)).astype(np.float32)
    with torch.no_grad():
        right = generator(torch.from_numpy(frames)).numpy()
    assert right.shape == (6 * 256,)
    for folder in (theirs, own):
        assert np.allclose(waveform(frames, RATE, str(folder)), right, atol=1e-5)


def test_folders_that_are_none_are_told(generator, tmp_path):
    with pytest.raises(PluginError, match="neither griffin_lim nor a folder"):
        load_hifigan(str(tmp_path / "none"))
    (tmp_path / "config.json").write_text(json.dumps(SIZES))
    with pytest.raises(PluginError, match="there is no file"):
        load_hifigan(str(tmp_path))
    torch.save({"generator": {"conv_pre.bias": torch.zeros(8)}}, tmp_path / "g_1")
    with pytest.raises(PluginError, match="lack conv_post"):
        load_hifigan(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"\x93\x00noise" * 9, b"[1]"])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "g_1"])
def test_a_damaged_folder_is_told(generator, tmp_path, name, content):
    generator.save_pretrained(tmp_path)
    if name == "g_1":
        (tmp_path / "model.safetensors").unlink()
        (tmp_path / "config.json").write_text(json.dumps(SIZES))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PluginError, match=f"option vocoder: '{tmp_path}' cannot be used: "):
        load_hifigan(str(tmp_path))


def test_a_generator_is_never_half_random(generator, tmp_path):
    from safetensors.torch import load_file, save_file

    generator.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    state.pop("conv_pre.bias")
    save_file(state, file, {"format": "pt"})
    with pytest.raises(PluginError, match="its weights lack conv_pre.bias"):
        load_hifigan(str(tmp_path))


@pytest.mark.parametrize(
    ("rate", "bins", "changes", "told"),
    [
        (24_000, 80, {}, "makes 22050 samples a second, and the slot is to have 24000"),
        (RATE, 40, {}, "of frames of 80 numbers; frames of this model have 40"),
        (RATE, 80, {"upsample_rates": [16, 8]}, "makes 128 samples of frames"),
    ],
)
def test_a_generator_for_other_sounds_is_refused(generator, tmp_path, rate, bins, changes, told):
    config = type(generator.config)(**{**generator.config.to_dict(), **changes})
    type(generator)(config).save_pretrained(tmp_path)
    with pytest.raises(PluginError, match=told):
        waveform(np.zeros((5, bins), np.float32), rate, str(tmp_path))
