"""A model that stands on a folder: trained with pictures, stored without the folder, small parts, sounds, mistakes."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from ofa_foreign.exporting import export_run
from ofa_foreign.importing import import_run
from ofacore import Generalist, Task
from ofacore.batching.collate import collate
from ofacore.ground.errors import UserError
from ofacore.protocols import MASK, UNK

PICTURE = np.zeros((32, 32, 3), np.uint8)
ROWS = [
    {"a": "the cat", "img": PICTURE, "b": "on the mat", "c": "red"},
    {"a": "a dog and a bird", "img": PICTURE + 200, "b": "sun", "c": "blue green"},
]
TASKS = [
    Task("see", "[IMAGE:img,size=32] [TEXT:a] -> [TEXT:b] and [TEXT:c]", train=ROWS),
    Task("read", "[TEXT:a] -> [TEXT:b]", train=ROWS),
]


def made(folder, tasks=TASKS, **options):
    named = {"name": "transformers", "path": str(folder), **options.pop("backbone", {})}
    return Generalist.create(tasks, backbone=named, **options)


def losses(model, gradients=False):
    """Losses of all rows of all tasks in one batch, and gradients by name."""
    rng = np.random.default_rng(0)
    encoders = model.assembly.encoders.items()
    examples = [
        encoder.encode(row, split="test", rng=rng, row_id=f"{name}{number}")
        for name, encoder in encoders
        for number, row in enumerate(ROWS)
    ]
    found = torch.cat([loss.values for _, loss in model.model(collate(examples))])
    if not gradients:
        return found.detach()
    model.model.zero_grad()
    found.sum().backward()
    named = model.model.named_parameters()
    return found.detach(), {name: p.grad.clone() for name, p in named if p.grad is not None}


@pytest.fixture(scope="module", params=["t5", "gpt2"])
def trained(request, folder_of, tmp_path_factory):
    """A model after two steps, and the run it is in; the folder that it came from is gone."""
    place = tmp_path_factory.mktemp(request.param)
    folder = shutil.copytree(folder_of(request.param), place / "folder")
    model = made(folder)
    model.fit(steps=2, samples=4, out=place / "run", precision="fp32")
    shutil.rmtree(folder)
    return model, place / "run"


def test_a_run_is_loaded_without_the_folder(trained):
    model, run = trained
    again = Generalist.from_pretrained(run)
    assert torch.equal(losses(model), losses(again))
    options = again.assembly.config.options["backbone/transformers"]
    assert options["path"] == "" and options["config"]["model_type"] in ("t5", "gpt2")


def test_a_run_without_its_folder_takes_more_tasks(trained):
    model = Generalist.from_pretrained(trained[1])
    loud = Task("loud", "louder: [TEXT:a] -> [TEXT:b] and [TEXT:c]", train=ROWS)
    grown = model.extend([loud], keep=["read"])
    before, after = (each.model.portable_state() for each in (model, grown))
    assert all(torch.equal(before[name], after[name]) for name in before)
    for task in ("see", "read"):
        answers = [each.infer(task, ROWS, max_length=4) for each in (model, grown)]
        assert [one.text for one in answers[0]] == [one.text for one in answers[1]]
    assert isinstance(grown.infer("loud", ROWS[0], max_length=4)["c"], str)


def test_several_slots_and_closed_sets_are_answered(trained):
    model, _ = trained
    for strategy in ("greedy", "beam"):
        answers = model.infer("see", ROWS, strategy=strategy, beam=2, max_length=4)
        assert all(isinstance(answer["b"], str) for answer in answers)
    chosen = model.infer(
        "[TEXT:a] -> [TEXT:b,closed_set]", ROWS, closed_set={"b": ["red", "blue green"]}
    )
    assert all(answer.text in ("red", "blue green") for answer in chosen)


def test_the_folder_that_is_written_gives_the_same(trained, tmp_path):
    model, run = trained
    out = export_run(run, tmp_path / "out", "transformers")
    kept, read = model.assembly.config.model.tied_head, slice(-len(ROWS), None)
    again = made(out)
    assert torch.allclose(losses(model)[read], losses(again)[read], atol=1e-4), kept


def test_rows_that_a_source_reads_are_written_as_they_were_learned(folder_of, tmp_path):
    rows = [{"a": "the <mask> sat", "b": "on"}, {"a": "<mask><unk> red", "b": "sun"}]
    task = Task("fill", "[TEXT:a,specials] -> [TEXT:b]", train=rows)
    model = made(folder_of("bart"), [task])
    adamw = {"name": "adamw", "lr": 1e-2}
    model.fit(steps=3, samples=2, out=tmp_path / "run", precision="fp32", optimizer=adamw)
    out = export_run(tmp_path / "run", tmp_path / "out", "transformers")
    theirs = AutoModelForSeq2SeqLM.from_pretrained(out).get_input_embeddings().weight
    core = model.model.portable_state()["embedding.core"]
    before = AutoModelForSeq2SeqLM.from_pretrained(folder_of("bart")).get_input_embeddings().weight
    for token, number in ((UNK, 3), (MASK, 4)):
        assert torch.equal(theirs[number], core[token])
        assert not torch.allclose(theirs[number], before[number], atol=1e-3)


def test_a_head_that_shares_its_table_against_the_folder_is_written_or_refused(folder_of, tmp_path):
    model = made(folder_of("llama"), TASKS[1:], tied_head=True)
    model.save(tmp_path / "tied")
    out = export_run(tmp_path / "tied", tmp_path / "out", "transformers")
    theirs = AutoModelForCausalLM.from_pretrained(out)
    assert torch.equal(theirs.lm_head.weight, theirs.get_input_embeddings().weight)
    made(folder_of("gpt2"), TASKS[1:], tied_head=False).save(tmp_path / "own")
    with pytest.raises(UserError, match="tied_head: false.*--format ofa"):
        export_run(tmp_path / "own", tmp_path / "other", "transformers")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("family", ["bart", "llama"])
def test_activations_computed_again_give_the_same_gradients(family, folder_of):
    plain = made(folder_of(family))
    again = made(folder_of(family), checkpoint_activations=True)
    plain.model.train(), again.model.train()
    (one, wanted), (other, found) = (losses(m, gradients=True) for m in (plain, again))
    assert torch.allclose(one, other, atol=1e-5) and wanted.keys() == found.keys()
    assert all(torch.allclose(wanted[name], found[name], atol=1e-4) for name in wanted)


def test_peft_trains_a_part_which_is_merged_when_written(folder_of, tmp_path):
    pytest.importorskip("peft")
    added = {"peft": {"r": 2, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": False}}
    model = made(folder_of("llama"), TASKS[1:], backbone=added)
    before = {name: p.detach().clone() for name, p in model.model.backbone.named_parameters()}
    model.fit(steps=2, samples=4, out=tmp_path / "run", precision="fp32")
    changed = {n for n, p in model.model.backbone.named_parameters() if not p.equal(before[n])}
    assert changed and all("lora_" in name for name in changed)
    again = Generalist.from_pretrained(tmp_path / "run")
    assert torch.equal(losses(model), losses(again))
    out = export_run(tmp_path / "run", tmp_path / "out", "transformers")
    assert torch.allclose(losses(made(out, TASKS[1:])), losses(model), atol=1e-4)
    assert AutoModelForCausalLM.from_pretrained(out).config.model_type == "llama"


def test_an_import_answers_at_once(folder_of, tmp_path):
    report = import_run(folder_of("t5"), tmp_path / "run")
    assert report.form == "transformers" and list(report.tasks) == ["imported"]
    model = Generalist.from_pretrained(tmp_path / "run")
    theirs = AutoModelForSeq2SeqLM.from_pretrained(folder_of("t5"))
    tokenizer = model.assembly.artifacts["text"].files["tokenizer.json"]
    from tokenizers import Tokenizer

    known = Tokenizer.from_str(tokenizer.decode())
    ids = theirs.generate(torch.tensor([known.encode("the cat").ids]), max_new_tokens=9)[0]
    answer = model.infer("imported", {"text": "the cat"}, max_length=9)
    assert answer.text == known.decode(ids.tolist(), skip_special_tokens=True)


def test_an_import_tells_what_it_leaves_out_of_a_search(folder_of, tmp_path):
    folder = shutil.copytree(folder_of("t5"), tmp_path / "folder")
    file = folder / "generation_config.json"
    asked = {"encoder_no_repeat_ngram_size": 2, "begin_suppress_tokens": [9], "num_beams": 2}
    file.write_text(json.dumps({**json.loads(file.read_text()), **asked}))
    lines = import_run(folder, tmp_path / "run").lines()
    told = [line for line in lines if line.startswith("left out")]
    assert len(told) == 1 and "encoder_no_repeat_ngram_size=2" in told[0]


def test_whisper_hears_as_in_transformers(folders, tmp_path):
    from transformers import WhisperFeatureExtractor

    folder = folders.whisper(tmp_path / "folder")
    import_run(folder, tmp_path / "run")
    model = Generalist.from_pretrained(tmp_path / "run")
    sounds = np.random.default_rng(0).normal(0, 0.1, (2, 16_000)).astype(np.float32)
    found = model.infer("imported", [{"wav": (sound, 16_000)} for sound in sounds], max_length=6)
    theirs = folders.WhisperForConditionalGeneration.from_pretrained(folder).eval()
    extract = WhisperFeatureExtractor(feature_size=80)
    for sound, answer in zip(sounds, found, strict=True):
        features = extract(sound, sampling_rate=16_000, return_tensors="pt").input_features
        with torch.no_grad():
            ids = theirs.generate(features, max_new_tokens=6, do_sample=False, num_beams=1)[0]
        known = folders.tokenizer(False, False)
        assert answer.text == known.decode(ids.tolist(), skip_special_tokens=True)


def test_mistakes_are_told(folder_of, tmp_path):
    with pytest.raises(UserError, match="holds no config.json; give model.backbone"):
        made(tmp_path)
    with pytest.raises(UserError, match="needs a name, such as"):
        Generalist.create(TASKS[1:], backbone={"path": str(tmp_path)})
    with pytest.raises(UserError, match="model.hidden=64, but the t5 has states of 32"):
        made(folder_of("t5"), TASKS[1:], hidden=64)
    with pytest.raises(UserError, match="text must have its tokenizer"):
        made(folder_of("t5"), TASKS[1:], options={"preprocessor/text": {"tokenizer": ""}})
    folder = shutil.copytree(folder_of("t5"), tmp_path / "other")
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "model_type": "t55"}))
    with pytest.raises(UserError, match="model_type 't55'.*did you mean 't5'"):
        made(folder, TASKS[1:])


@pytest.mark.parametrize("family", ["t5", "whisper"])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_that_was_not_copied_whole_is_told(folder_of, folders, tmp_path, family, name):
    folder = tmp_path / "folder"
    if family == "whisper":
        folders.whisper(folder)
    else:
        shutil.copytree(folder_of(family), folder)
    content = (folder / name).read_bytes()
    for part in (content[: len(content) // 2], b"\x93noise", b""):
        (folder / name).write_bytes(part)
        with pytest.raises(UserError, match=f"folder/{name}'?.*damaged"):
            import_run(folder, tmp_path / "run")
    (folder / name).unlink()
    with pytest.raises(UserError, match="folder"):
        import_run(folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()
