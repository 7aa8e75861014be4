"""Whisper on sounds of mixed lengths: filled up to a second each, they give what each gives alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

from ofa_foreign.exporting import export_run
from ofa_foreign.importing import import_run
from ofacore import Generalist, Task
from ofacore.batching.collate import collate
from ofacore.ground.errors import UserError
from ofacore.protocols import RowError

RATE = 16_000
LINE = "[AUDIO:wav,preprocess=audio_wave,adapter=whisper] what? -> [TEXT:t]"
SOUNDS = [
    np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32)
    for length in (8_000, 40_000, 16_000)
]
ROWS = [
    {"wav": (sound, RATE), "v": (sound, RATE), "t": text}
    for sound, text in zip(SOUNDS, ("red", "blue green", "sun"), strict=True)
]
TASKS = [
    Task("hear", LINE, train=ROWS),
    Task("twice", f"[AUDIO:v,preprocess=audio_wave,adapter=whisper] {LINE}", train=ROWS),
    Task("read", "[TEXT:t] -> [TEXT:t]", train=ROWS),
]
MIXED = [("hear", ROWS[0]), ("read", ROWS[1]), ("hear", ROWS[1]), ("hear", ROWS[2])]


@pytest.fixture(scope="module")
def folder(folders, tmp_path_factory):
    return folders.whisper(tmp_path_factory.mktemp("whisper") / "folder")


def made(folder, pad_seconds=1, **model):
    backbone = {"name": "transformers", "path": str(folder)}
    options = {"adapter/whisper": {"pad_seconds": pad_seconds}}
    return Generalist.create(TASKS, backbone=backbone, options=options, **model)


@pytest.fixture(scope="module")
def model(folder):
    return made(folder)


def batch(model, asked):
    """Rows of some tasks as one batch."""
    rng, encoders = np.random.default_rng(0), model.assembly.encoders
    return collate(
        [
            encoders[task].encode(row, split="test", rng=rng, row_id=str(number))
            for number, (task, row) in enumerate(asked)
        ]
    )


def losses(model, asked):
    return torch.cat([loss.values for _, loss in model.model(batch(model, asked))])


@torch.no_grad()
def test_a_sound_is_heard_as_by_a_whisper_of_its_length(model, folder):
    theirs = WhisperForConditionalGeneration.from_pretrained(folder).eval().get_encoder()
    hidden = model.model.eval().hidden(batch(model, [("hear", row) for row in ROWS])).source
    found = hidden[hidden.abs().sum(1) > 0].split([50, 150, 50])
    whole = theirs.embed_positions.weight.clone()
    for sound, ours, seconds in zip(SOUNDS, found, (1, 3, 1), strict=True):
        extract = WhisperFeatureExtractor(feature_size=80, chunk_length=seconds)
        features = extract(sound, sampling_rate=RATE, return_tensors="pt").input_features
        theirs.config.max_source_positions = 50 * seconds
        theirs.embed_positions = torch.nn.Embedding.from_pretrained(whole[: 50 * seconds])
        assert torch.allclose(ours, theirs(features).last_hidden_state[0], atol=1e-5)


def test_mixed_lengths_share_a_batch(model, folder):
    again = made(folder, checkpoint_activations=True)
    again.model.train()
    again.model.load_state_dict(model.model.state_dict())
    alone = torch.cat([losses(model, [asked]) for asked in MIXED])
    alone.sum().backward()
    together = losses(again, MIXED)
    together.sum().backward()
    assert torch.allclose(together, alone, atol=1e-5)
    wanted = {n: p.grad for n, p in model.model.named_parameters() if p.grad is not None}
    for name, parameter in again.model.named_parameters():
        assert name not in wanted or torch.allclose(parameter.grad, wanted[name], atol=1e-4)


def test_answers_of_mixed_lengths_are_those_of_each_alone(model):
    for strategy in ("greedy", "beam"):
        options = {"strategy": strategy, "beam": 2, "max_length": 5}
        together = model.infer("hear", ROWS, **options)
        alone = [model.infer("hear", row, **options) for row in ROWS]
        assert [one.text for one in together] == [one.text for one in alone]


def test_the_length_is_stored(model, tmp_path):
    model.save(tmp_path / "saved")
    again = Generalist.from_pretrained(tmp_path / "saved")
    assert torch.equal(losses(again, MIXED), losses(model, MIXED))


def generated(folder, folders, sound, length):
    """What `generate` of transformers makes of a sound, as text."""
    theirs = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    extract = WhisperFeatureExtractor.from_pretrained(folder)
    features = extract(sound, sampling_rate=RATE, return_tensors="pt").input_features
    ids = theirs.generate(features, max_new_tokens=length)[0]
    return folders.tokenizer(False, False).decode(ids.tolist(), skip_special_tokens=True)


def test_low_rank_updates_are_heard_in_the_folder_that_is_written(folders, tmp_path):
    folder, names = folders.whisper(tmp_path / "folder"), folders.tokenizer(False, False)
    file = folder / "generation_config.json"
    told = {name: value for name, value in json.loads(file.read_text()).items() if name[0] != "_"}
    last = names.get_vocab_size() - 1
    told |= {"is_multilingual": True, "no_timestamps_token_id": last, "lang_to_id": {"<|de|>": 30}}
    told |= {"task_to_id": {"transcribe": 32, "translate": 33}}
    file.write_text(json.dumps(told))
    prompt = [names.id_to_token(number) for number in (30, 32, last)]
    backbone = {"name": "transformers", "path": str(folder), "prompt": prompt}
    lora = {"rank": 2, "targets": ["^backbone"]}
    model = Generalist.create(TASKS[:1], backbone=backbone, lora=lora)
    before = model.infer("hear", ROWS[0], max_length=6)
    model.fit(steps=2, samples=1, out=tmp_path / "run", precision="fp32", optimizer={"lr": 0.004})
    found = model.infer("hear", ROWS, max_length=6)
    assert found[0].text != before.text
    out = export_run(tmp_path / "run", tmp_path / "out", "transformers")
    theirs = [generated(out, folders, sound, 6) for sound in SOUNDS]
    assert theirs == [one.text for one in found]


def test_an_import_that_is_written_again_says_the_same_to_generate(folders, tmp_path):
    folder = folders.whisper(tmp_path / "folder")
    import_run(folder, tmp_path / "run")
    out = export_run(tmp_path / "run", tmp_path / "out", "transformers")
    one, other = (json.loads((f / "generation_config.json").read_text()) for f in (folder, out))
    assert other["suppress_tokens"] == one["suppress_tokens"] == [7, 9]
    assert sorted(other["begin_suppress_tokens"]) == sorted(one["begin_suppress_tokens"])


def test_mistakes_are_told(model, folder):
    with pytest.raises(UserError, match="pad_seconds"):
        made(folder, pad_seconds=0)
    with pytest.raises(RowError, match="a sound of 31 s; .* write max_seconds=30 in its slot"):
        batch(model, [("hear", {**ROWS[0], "wav": (np.zeros(31 * RATE, np.float32), RATE)})])
    with pytest.raises(UserError, match="reads one sound for each answer, not several"):
        model.model(batch(model, [("twice", ROWS[0])]))
