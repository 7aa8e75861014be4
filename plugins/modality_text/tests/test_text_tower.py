"""Text towers of `transformers`: their own states, whatever stands beside a text; stored with the model."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from ofa_kit import AdapterConformance, ClosedRegistry
from ofa_modality_text.tower import TextTower
from ofa_modality_text.tower_config import TowerError, most_tokens, tower_config
from ofa_modality_text.tower_preprocessor import TowerTextPreprocessor
from ofacore import Generalist, Task
from ofacore.protocols import BuildContext, RowError, Vocabulary

transformers = pytest.importorskip("transformers")
PLUGIN = "ofa_modality_text.manifest:MANIFEST"
WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "red", "blue", "a", "cat", "dog", "moon"]
TEXTS = ["a red cat", "moon", "a blue dog a red moon a cat"]
CONFIG = transformers.BertConfig(
    vocab_size=len(WORDS),
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=16,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
OPTIONS = {"frozen": False, "layer": -1, "pool": "states", "config": {}}


PLACE = []
"""The folder, for the suite of adapters."""


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("tower")
    PLACE[:] = [place]
    torch.manual_seed(0)
    transformers.BertModel(CONFIG).save_pretrained(place)
    tokenizer = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=12)
    tokenizer.save(str(place / "tokenizer.json"))
    return place


@pytest.fixture(scope="module")
def reader(folder):
    made = TowerTextPreprocessor({"path": str(folder)})
    made.bind(Vocabulary(), made.fit([], np.random.default_rng(0)))
    return made


def built(folder, **options):
    torch.manual_seed(1)
    given = {**OPTIONS, "path": str(folder), **options}
    return TextTower(BuildContext(24, given, Vocabulary(()), None)).eval()


@pytest.fixture
def read(reader, slot, context):
    def encoded(*texts, **attributes):
        place = slot("source", **attributes)
        found = [reader.encode(text, place, context())[0] for text in texts]
        ids = np.concatenate([segment.features["ids"] for segment in found])
        return {"ids": torch.from_numpy(ids)}, [segment.shape for segment in found]

    return encoded


@torch.no_grad()
def test_states_are_those_of_transformers(folder, read):
    theirs = transformers.AutoModel.from_pretrained(folder).eval()
    for layer, pool in ((-1, "states"), (-2, "mean"), (-1, "first")):
        adapter = built(folder, layer=layer, pool=pool)
        features, shapes = read(*TEXTS)
        wanted = []
        for text in TEXTS:
            ids = torch.tensor([[1, *(WORDS.index(word) for word in text.split()), 2]])
            states = theirs(ids, output_hidden_states=True).hidden_states[layer][0]
            pooled = {"states": states, "mean": states.mean(0)[None], "first": states[:1]}
            wanted.append(pooled[pool])
        found = adapter.embed(features, shapes)
        expected = adapter.project(adapter.norm(torch.cat(wanted)))
        assert torch.allclose(found, expected, atol=1e-5)
        lengths = [TextTower.length(shape, adapter.options) for shape in shapes]
        assert lengths == [len(states) for states in wanted]


def test_a_long_text_is_cut_and_keeps_its_end(read):
    assert most_tokens(CONFIG) == 16
    features, shapes = read("red " * 40)
    assert shapes == [(16,)] and features["ids"][-1] == 2
    features, shapes = read("red blue moon", max_length=4)
    assert features["ids"].tolist() == [1, 4, 5, 2]


def test_what_learns_and_what_does_not(folder, read):
    for frozen in (True, False):
        adapter = built(folder, frozen=frozen).train()
        adapter.embed(*read(*TEXTS)).square().sum().backward()
        learned = {name for name, p in adapter.named_parameters() if p.grad is not None}
        assert any(name.startswith("tower.") for name in learned) is not frozen
        wanted = {name for name, p in adapter.named_parameters() if p.requires_grad}
        assert learned == wanted and "project.weight" in learned


@torch.no_grad()
def test_a_tower_that_was_stored_in_half_precision_is_built_again(folder, read, tmp_path):
    transformers.AutoModel.from_pretrained(folder).half().save_pretrained(tmp_path)
    adapter = built(tmp_path)
    again = built("", **TextTower.stored_options(adapter.options))
    again.load_state_dict(adapter.state_dict())
    assert torch.equal(again.embed(*read("red")), adapter.embed(*read("red")))


def test_mistakes_are_told(folder, read, tmp_path):
    with pytest.raises(TowerError, match="no tower was named; give options.preprocessor/text"):
        TowerTextPreprocessor({"path": ""}).fit([], np.random.default_rng(0))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bertt"}))
    with pytest.raises(TowerError, match="model_type 'bertt'; did you mean 'bert'"):
        tower_config({"path": str(tmp_path)})
    (tmp_path / "config.json").write_text('{"model_type": "bert", "hidden_size": "x"}')
    with pytest.raises(TowerError, match="holds values that a bert cannot have"):
        tower_config({"path": str(tmp_path)})
    (tmp_path / "config.json").write_text(CONFIG.to_json_string())
    with pytest.raises(TowerError, match="holds no tokenizer.json"):
        TowerTextPreprocessor({"path": str(tmp_path)}).fit([], np.random.default_rng(0))
    (tmp_path / "tokenizer.json").write_bytes(b"\x93noise")
    with pytest.raises(TowerError, match="tokenizer.json' is no tokenizer"):
        TowerTextPreprocessor({"path": str(tmp_path)}).fit([], np.random.default_rng(0))
    with pytest.raises(TowerError, match="cannot be read"):
        built(tmp_path)
    with pytest.raises(TowerError, match="layer=9, but a tower of 2 layers"):
        built(folder, layer=9).embed(*read("red"))
    with pytest.raises(RowError, match="leave mask_ratio out"):
        read("red", mask_ratio=0.5)


def test_a_model_keeps_its_tower_and_its_tokenizer(folder, tmp_path):
    folder = shutil.copytree(folder, tmp_path / "folder")
    rows = [{"q": text, "d": text.upper(), "t": text.split()[-1]} for text in TEXTS]
    asked = "[TEXT:q,preprocess=text_tower]"
    tasks = [
        Task("last", f"{asked} what comes last? -> [TEXT:t]", train=rows),
        Task("find", f"{asked[:-1]}|TEXT:d] ->", train=rows),
    ]
    sizes = {"hidden": 32, "ffn": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    registry = ClosedRegistry().register(PLUGIN)
    options = {"preprocessor/text_tower": {"path": str(folder)}}
    model = Generalist.create(tasks, registry=registry, preset="tiny", **sizes, options=options)
    model.fit(steps=2, samples=4, out=tmp_path / "run", precision="fp32", trackers=[])
    answer, vector = model.infer("last", rows[0]).text, model.encode("find", {"q": "a cat"})
    shutil.rmtree(folder)
    again = Generalist.from_pretrained(tmp_path / "run", registry=registry)
    assert again.infer("last", rows[0]).text == answer
    assert torch.equal(again.encode("find", {"q": "a cat"}), vector)


class TestTextTower(AdapterConformance):
    plugin = PLUGIN
    adapter = "text_tower"
    attributes = "preprocess=text_tower"
    values = TEXTS

    def model_keys(self):
        return {"preprocessors": {"text_tower": {"path": str(PLACE[0])}}}
