"""Towers of `transformers`: their own states, whatever stands beside a sound; stored with the model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from ofa_kit import AdapterConformance, ClosedRegistry
from ofa_modality_speech.sample import RATE, sound
from ofa_modality_speech.tower import AudioTower
from ofa_modality_speech.tower_config import (
    TowerError,
    normalises,
    tower_config,
    tower_positions,
)
from ofa_modality_speech.wave_preprocessor import WavePreprocessor
from ofacore import Generalist, Task
from ofacore.plan import compile_task
from ofacore.protocols import BuildContext, RowContext, RowError, Vocabulary

transformers = pytest.importorskip("transformers")
PLUGIN = "ofa_modality_speech.manifest:MANIFEST"
TEXT = "ofa_modality_text.manifest:MANIFEST"
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8, 8, 8],
    "conv_kernel": [10, 3, 3],
    "conv_stride": [5, 4, 4],
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
WHISPER = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "num_mel_bins": 20,
    "vocab_size": 40,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 3,
}
KINDS = {
    "wav2vec2": transformers.Wav2Vec2Config(**SMALL),
    "hubert": transformers.HubertConfig(
        **SMALL, feat_extract_norm="layer", do_stable_layer_norm=True
    ),
    "whisper": transformers.WhisperConfig(**WHISPER),
}
OPTIONS = {"path": "", "frozen": False, "layer": -1, "normalize": True, "config": {}}


@pytest.fixture(params=KINDS)
def folder(request, tmp_path):
    torch.manual_seed(0)
    transformers.AutoModel.from_config(KINDS[request.param]).save_pretrained(tmp_path / "tower")
    return tmp_path / "tower"


def built(folder, **options):
    torch.manual_seed(1)
    context = BuildContext(24, {**OPTIONS, "path": str(folder), **options}, Vocabulary(()), None)
    return AudioTower(context).eval()


def features(*lengths):
    clips = [torch.from_numpy(sound()["array"][:length]) for length in lengths]
    return {"samples": torch.cat(clips)}, [(length,) for length in lengths]


def reference(folder, samples):
    """The tower's own states, by the classes of transformers alone."""
    config = transformers.AutoConfig.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        if config.model_type == "whisper":
            extract = transformers.WhisperFeatureExtractor(feature_size=20)
            mean, deviation = samples.mean(), np.sqrt(samples.var() + 1e-7)
            given = extract((samples - mean) / deviation, sampling_rate=RATE, return_tensors="pt")
            return model.encoder(given.input_features).last_hidden_state[0]
        extract = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
        given = extract(samples, sampling_rate=RATE, return_tensors="pt")
        return model(given.input_values).last_hidden_state[0]


@pytest.mark.parametrize("length", [1, 100, 3000, 6400])
def test_states_are_those_of_the_tower(folder, length):
    adapter = built(folder)
    found = adapter.embed(*features(length))
    assert len(found) == AudioTower.length((length,), adapter.options)
    if length < 1000:
        return
    right = reference(folder, sound()["array"][:length])[: len(found)]
    with torch.no_grad():
        assert torch.allclose(found, adapter.project(adapter.norm(right)), atol=1e-4)


def test_what_stands_beside_a_sound_changes_nothing(folder):
    adapter = built(folder)
    with torch.no_grad():
        together = adapter.embed(*features(3000, 6400, 3000))
        alone = [adapter.embed(*features(length)) for length in (3000, 6400, 3000)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


@torch.no_grad()
def test_a_whisper_hears_short_sounds_at_their_length(tmp_path):
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(KINDS["whisper"])
    model.save_pretrained(tmp_path / "tower")
    adapter = built(tmp_path / "tower", pad_seconds=1)
    noise = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
    clips = [torch.from_numpy(noise[:length]) for length in (3_000, 24_000, 16_000)]
    shapes = [(len(clip),) for clip in clips]
    found = adapter.embed({"samples": torch.cat(clips)}, shapes)
    alone = [adapter.embed({"samples": clip}, [(len(clip),)]) for clip in clips]
    assert [len(states) for states in alone] == [10, 75, 50]
    assert torch.allclose(found, torch.cat(alone), atol=1e-5)
    for layer in (-1, -2, 0):
        adapter = built(tmp_path / "tower", layer=layer)
        whole = adapter._log_mel(clips, 30)
        assert torch.allclose(adapter._short_states(whole), adapter._states(whole), atol=1e-6)


def test_a_frozen_tower_learns_nothing(folder):
    adapter = built(folder, frozen=True, layer=-2).train()
    adapter.embed(*features(3000)).sum().backward()
    assert not adapter.tower.training
    assert all(parameter.grad is None for parameter in adapter.tower.parameters())
    assert adapter.project.weight.grad is not None


def test_every_weight_of_a_tower_that_learns_has_a_gradient(folder):
    adapter = built(folder).train()
    adapter.embed(*features(6400)).square().sum().backward()
    learned = [p for p in adapter.parameters() if p.requires_grad]
    assert learned and all(parameter.grad is not None for parameter in learned)


def test_half_a_minute_of_whisper_follows_the_other(tmp_path):
    config = KINDS["whisper"]
    assert tower_positions(480_000, config) == 1500
    assert tower_positions(480_001, config) == 1501


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "holds no config.json"),
        ("nothing", "cannot be read"),
        ([1], "holds no object of JSON"),
        ({"model_type": "bart"}, "reads no samples"),
        ({"model_type": "none"}, "model_type 'none'"),
        ({"model_type": ["wav2vec2"]}, "names the model_type"),
        ({"model_type": "wav2vec2", "hidden_size": "x"}, "holds values that a wav2vec2 cannot"),
        ({"model_type": "wav2vec2", "conv_stride": [5]}, "holds values that a wav2vec2 cannot"),
        ({"model_type": "wav2vec2", "add_adapter": True}, "has convolutions behind its layers"),
        ("[" * 10**5, "cannot be read"),
    ],
)
def test_folders_that_are_no_tower_are_told(tmp_path, content, told):
    if content is not None:
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(TowerError, match=told):
        tower_config({"path": str(tmp_path)})


def test_a_folder_that_was_written_anew_is_read_anew(tmp_path):
    for name in ("hubert", "wav2vec2"):
        KINDS[name].save_pretrained(tmp_path)
        assert tower_config({"path": str(tmp_path)}).model_type == name


def test_weights_that_lack_something_are_told(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(TowerError, match="cannot be read"):
        built(folder)
    with pytest.raises(TowerError, match="layer=9"):
        built("", config=json.loads((folder / "config.json").read_text()), layer=9).embed(
            *features(3000)
        )


def test_a_model_keeps_its_tower(folder, tmp_path):
    rows = [{"wav": sound(), "t": "up"}, {"wav": {**sound(), "start": 0.2}, "t": "high"}]
    line = "[AUDIO:wav,preprocess=audio_wave] what is heard? -> [TEXT:t,level=character]"
    sizes = {"preset": "tiny", "hidden": 32, "ffn": 32, "heads": 2, "encoder_layers": 1}
    registry = ClosedRegistry().register(TEXT, PLUGIN)
    model = Generalist.create(
        [Task("hear", line, train=rows)],
        registry=registry,
        **sizes,
        decoder_layers=1,
        options={"adapter/audio_tower": {"path": str(folder), "frozen": True}},
    )
    model.fit(steps=2, samples=2, out=tmp_path / "run", precision="fp32", trackers=[])
    before = model.infer("hear", rows[0]).text
    (folder / "config.json").unlink()
    again = Generalist.from_pretrained(tmp_path / "run", registry=registry)
    assert again.infer("hear", rows[0]).text == before
    right = dict(model.model.adapters["audio_tower"].named_parameters())
    for name, values in again.model.adapters["audio_tower"].named_parameters():
        assert torch.equal(values, right[name])


def test_a_folder_says_whether_samples_are_normalised(tmp_path):
    """In a file of its own, or in that of a processor of sounds and texts."""
    options = {"path": str(tmp_path), "normalize": True}
    (tmp_path / "preprocessor_config.json").write_text('{"do_normalize": true}')
    (tmp_path / "processor_config.json").write_text('{"processor_class": "Wav2Vec2Processor"}')
    assert normalises(options)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path)
    assert not normalises(options)
    told = {"feature_extractor": {"do_normalize": True}}
    (tmp_path / "processor_config.json").write_text(json.dumps(told))
    assert normalises({**options, "normalize": False})


@pytest.mark.parametrize("asked", ["sample_rate=8000", "features=log_mel", "spec_augment"])
def test_a_tower_is_given_no_sound_at_another_rate_and_no_frames(asked):
    line = "[AUDIO:wav,preprocess=audio_wave{}] what is heard? -> [TEXT:t]"
    registry, context = ClosedRegistry().register(TEXT, PLUGIN), RowContext({}, "t", "test", None)
    plan, right = (
        compile_task("t", line.format(more), registry).templates[0].named("wav")
        for more in (f",{asked}", ",sample_rate=16000")
    )
    assert WavePreprocessor({}).encode(sound(), right, context)
    with pytest.raises(
        RowError, match=f"16000 samples a second .* leave {asked.split('=')[0]} out"
    ):
        WavePreprocessor({}).encode(sound(), plan, context)


@torch.no_grad()
def test_a_tower_that_was_stored_in_half_precision_is_built_again(folder):
    transformers.AutoModel.from_pretrained(folder).half().save_pretrained(folder)
    adapter = built(folder)
    again = built("", **AudioTower.stored_options(adapter.options))
    again.load_state_dict(adapter.state_dict())
    assert torch.equal(again.embed(*features(3000)), adapter.embed(*features(3000)))


class TestAudioTower(AdapterConformance):
    plugin = PLUGIN
    adapter = "audio_tower"
    attributes = "preprocess=audio_wave"
    values = [sound(), {**sound(), "end": 0.2}, {**sound(), "start": 0.1}]
    model = {"adapters": {"audio_tower": {"config": KINDS["wav2vec2"].to_dict()}}}
