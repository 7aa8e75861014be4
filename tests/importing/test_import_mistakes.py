"""What cannot be imported is told: what was found, what was expected; nothing is written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, T5Config

from ofacore.errors import UserError
from ofacore.exporting import export_run
from ofacore.importing import import_run
from tests.importing.bart import save_bart


class Harm:
    def __reduce__(self):
        return os.system, ("touch harm",)


def cut_weights(folder: Path) -> Path:
    save_bart(folder)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    return folder


def cut_pickle(folder: Path) -> Path:
    folder.mkdir()
    torch.save({"model": {"encoder.version": torch.ones(300)}}, folder / "a.pt")
    (folder / "a.pt").write_bytes((folder / "a.pt").read_bytes()[:900])
    return folder / "a.pt"


def harmful(folder: Path) -> Path:
    folder.mkdir()
    torch.save({"model": {"a": torch.ones(1)}, "args": Harm()}, folder / "a.pt")
    return folder / "a.pt"


def harmful_bin(folder: Path) -> Path:
    save_bart(folder)
    (folder / "model.safetensors").unlink()
    torch.save({"model.shared.weight": Harm()}, folder / "pytorch_model.bin")
    return folder


def other(config: type) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        config(architectures=["Whatever"]).save_pretrained(folder)
        save_file({"a": torch.ones(1)}, folder / "model.safetensors")
        return folder

    return make


def other_state(folder: Path) -> Path:
    folder.mkdir()
    torch.save({"model": {"backbone.stem.weight": torch.ones(3)}}, folder / "a.pt")
    return folder / "a.pt"


def no_model(folder: Path) -> Path:
    folder.mkdir()
    torch.save({"weights": {"a": torch.ones(3)}, "epoch": 3}, folder / "a.pt")
    return folder / "a.pt"


def without(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        save_bart(folder)
        (folder / name).unlink()
        return folder

    return make


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def misspelt(folder: Path) -> Path:
    save_bart(folder)
    return folder.with_name("their")


def no_torch_file(folder: Path) -> Path:
    folder.mkdir()
    (folder / "a.pt").write_text("<html>not found</html>")
    return folder / "a.pt"


def wrong_dictionary(folder: Path) -> Path:
    save_bart(folder)
    (folder / "vocab.json").write_text(json.dumps({"<s>": 0, "far": 5000}))
    return folder


def damaged_config(folder: Path) -> Path:
    save_bart(folder)
    (folder / "config.json").write_text("{")
    return folder


def own_run(folder: Path) -> Path:
    save_bart(folder / "bart")
    import_run(folder / "bart", folder / "run")
    return folder / "run"


MISTAKES: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "cut weights": (cut_weights, ("model.safetensors", "damaged")),
    "cut pickle": (cut_pickle, ("a.pt", "damaged or cut off", "900 bytes")),
    "harmful": (harmful, ("posix.system", "run code", "refused")),
    "harmful bin": (harmful_bin, ("posix.system", "pytorch_model.bin")),
    "T5": (other(T5Config), ("found a model of type 't5'", "expected model_type bart or ofa")),
    "Llama": (other(LlamaConfig), ("found a model of type 'llama'", "expected model_type bart or ofa")),
    "another state": (other_state, ("another architecture", "backbone.stem.weight", "expected")),
    "no model": (no_model, ("found a dictionary of weights, epoch", "expected a trainer's checkpoint")),
    "no dictionary": (without("vocab.json"), ("no dictionary of its 38 tokens", "found", "expected vocab.json")),
    "no merges": (without("merges.txt"), ("no tokenizer", "expected vocab.json and merges.txt")),
    "no weights": (without("model.safetensors"), ("expected weights in model.safetensors or pytorch_model.bin",)),
    "empty folder": (empty, ("found nothing", "expected a checkpoint of OFASys")),
    "wrong path": (misspelt, ("no such file or folder", "did you mean 'theirs'?")),
    "no torch file": (no_torch_file, ("no file of PyTorch",)),
    "wrong dictionary": (wrong_dictionary, ("'far' has row 5000", "38 rows")),
    "damaged config": (damaged_config, ("config.json", "not JSON")),
    "own run": (own_run, ("is a run of this project already",)),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_the_message_says_what_was_found_and_what_was_expected(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, words = MISTAKES[name]
    path = make(tmp_path / "theirs")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError) as caught:
        import_run(path, tmp_path / "out")
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    save_bart(tmp_path / "theirs")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("1")
    for call in (lambda: import_run(tmp_path / "theirs", tmp_path / "out"),
                 lambda: export_run(tmp_path / "theirs", tmp_path / "out", "safetensors")):  # fmt: skip
        with pytest.raises(UserError, match="is not empty"):
            call()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]


def test_an_instruction_that_asks_for_more_than_is_there(tmp_path: Path) -> None:
    save_bart(tmp_path / "theirs")
    with pytest.raises(UserError) as caught:
        import_run(tmp_path / "theirs", tmp_path / "out", instructions=["[IMAGE:img] what? -> [TEXT:cap]"])
    assert "missing" in str(caught.value) and "(ours)" in str(caught.value)
    with pytest.raises(UserError, match="TEXTS"):
        import_run(tmp_path / "theirs", tmp_path / "out", instructions=["[TEXTS:a] -> [TEXT:b]"])
    with pytest.raises(UserError, match="no regular expression"):
        import_run(tmp_path / "theirs", tmp_path / "out", allow=["("])
    assert not (tmp_path / "out").exists()
