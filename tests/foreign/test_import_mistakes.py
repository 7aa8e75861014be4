"""What cannot be imported is told: what was found, what was expected; nothing is written."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2Model, LlamaConfig, T5Config, ViTConfig, ViTModel

from ofa_foreign.exporting import export_run
from ofa_foreign.formats import bart_names
from ofa_foreign.importing import import_run, writing
from ofacore.ground.errors import UserError
from tests.foreign.bart import save_bart
from tests.foreign.ofasys_file import write_checkpoint
from tests.foreign.ofasys_state import SETTINGS, random_state


class Harm:
    """Calls a function when it is loaded."""

    def __init__(self, call: Callable[..., Any] = os.system, *arguments: Any) -> None:
        self.call = call, arguments or ("touch harm",)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


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


def harmful_anywhere(
    where: str, new: bool, harm: tuple[Any, ...] = (os.system, "touch harm")
) -> Callable[[Path], Path]:
    """A trainer's file that would call a function when loaded."""

    def make(folder: Path) -> Path:
        folder.mkdir()
        places = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<text>_1": 4}
        state: dict[str, Any] = random_state(5)
        parts: dict[str, Any] = {"args": Harm(*harm)} if where == "arguments" else {}
        if where == "nested":
            parts = {"extra_state": {"meters": [(0, {"best": Harm(*harm)})]}}
        if where == "state":
            state["encoder.x"] = Harm(*harm)
        write_checkpoint(folder / "a.pt", state, SETTINGS, places, new=new, more=parts)
        return folder / "a.pt"

    return make


def legacy_bin(folder: Path) -> Path:
    save_bart(folder)
    (folder / "model.safetensors").unlink()
    state = {"model.shared.weight": Harm()}
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    return folder


def another_model(kind: Any, config: Any) -> Callable[[Path], Path]:
    """Weights of another architecture in a file of a trainer's form."""

    def make(folder: Path) -> Path:
        folder.mkdir()
        torch.save({"model": kind(config).state_dict()}, folder / "a.pt")
        return folder / "a.pt"

    return make


def with_file(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        save_bart(folder)
        (folder / name).write_bytes(content)
        return folder

    return make


def with_setting(
    name: str, value: Any, file: str = "config.json", both_heads: int | None = None
) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        save_bart(folder)
        settings = json.loads((folder / file).read_text())
        if both_heads:
            settings |= {f"{side}_attention_heads": both_heads for side in ("encoder", "decoder")}
        (folder / file).write_text(json.dumps({**settings, name: value}))
        return folder

    return make


def table_of_one_row(folder: Path) -> Path:
    save_bart(folder)
    state = load_file(folder / "model.safetensors")
    state = {name: part for name, part in state.items() if name not in bart_names.TABLE_COPIES}
    save_file({**state, bart_names.TABLE: torch.ones(16)}, folder / "model.safetensors")
    return folder


def far_layer(folder: Path) -> Path:
    folder.mkdir()
    places = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<text>_1": 4}
    state = {**random_state(5), "encoder.layers.999999999.fc1.weight": torch.ones(1)}
    write_checkpoint(folder / "a.pt", state, SETTINGS, places)
    return folder / "a.pt"


def no_file(folder: Path) -> Path:
    return Path(os.devnull)


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


GPT2 = GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=9, bos_token_id=0, eos_token_id=0)
VIT = ViTConfig(
    hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, image_size=32
)
MISTAKES: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "cut weights": (cut_weights, ("model.safetensors", "damaged")),
    "cut pickle": (cut_pickle, ("a.pt", "damaged or cut off", "900 bytes")),
    "harmful": (harmful, ("posix.system", "run code", "refused")),
    "harmful bin": (harmful_bin, ("posix.system", "pytorch_model.bin")),
    "T5": (other(T5Config), ("holds no tokenizer.json", "AutoTokenizer")),
    "Llama": (other(LlamaConfig), ("holds no tokenizer.json", "AutoTokenizer")),
    "another state": (other_state, ("another architecture", "backbone.stem.weight", "expected")),
    "no model": (
        no_model,
        ("found a dictionary of weights, epoch", "expected a trainer's checkpoint"),
    ),
    "no dictionary": (
        without("vocab.json"),
        ("no dictionary of its 38 tokens", "found", "expected vocab.json"),
    ),
    "no merges": (without("merges.txt"), ("no tokenizer", "expected vocab.json and merges.txt")),
    "no weights": (
        without("model.safetensors"),
        ("expected weights in model.safetensors or pytorch_model.bin",),
    ),
    "empty folder": (empty, ("found nothing", "expected a checkpoint of OFASys")),
    "wrong path": (misspelt, ("no such file or folder", "did you mean 'theirs'?")),
    "no torch file": (no_torch_file, ("no file of PyTorch",)),
    "wrong dictionary": (wrong_dictionary, ("'far' has row 5000", "38 rows")),
    "damaged config": (damaged_config, ("config.json", "not JSON")),
    "harm in the arguments": (harmful_anywhere("arguments", True), ("posix.system", "run code")),
    "harm in an old file": (harmful_anywhere("nested", False), ("posix.system", "run code")),
    "harm among tensors": (harmful_anywhere("state", False), ("posix.system", "run code")),
    "harm by a class": (
        harmful_anywhere("nested", True, (subprocess.Popen, ["touch", "harm"])),
        ("subprocess.Popen",),
    ),
    "harm by eval": (
        harmful_anywhere("nested", False, (eval, "open('harm', 'w')")),
        ("builtins.eval",),
    ),
    "harm by loading": (
        harmful_anywhere("nested", True, (torch.hub.load, "a", "b")),
        ("torch.hub.load",),
    ),
    "harm in an old bin": (legacy_bin, ("posix.system", "pytorch_model.bin")),
    "GPT-2": (another_model(GPT2Model, GPT2), ("another architecture", "wte.weight", "expected")),
    "ViT": (
        another_model(ViTModel, VIT),
        ("another architecture", "embeddings.cls_token", "expected"),
    ),
    "configuration is a list": (
        with_file("config.json", b"[1]"),
        ("type 'None'", "expected model_type"),
    ),
    "merges are no text": (with_file("merges.txt", b"\xff\xfe"), ("merges.txt", "not UTF-8")),
    "merges are empty": (
        with_file("merges.txt", b""),
        ("merges.txt", "its 0 merges make 0 of the 6 longer tokens"),
    ),
    "merges are a head alone": (
        with_file("merges.txt", b"#version: 0.2\n"),
        ("merges.txt", "0 merges", "vocab.json", "and not '", "expected"),
    ),
    "merges are cut": (
        with_file("merges.txt", b"#version: 0.2\na b\n"),
        ("its 1 merges make 1 of the 6",),
    ),
    "merges of another model": (
        with_file("merges.txt", b"#version: 0.2\na b\nt h\nth e\n"),
        ("2 of its 3 merges are of tokens that vocab.json does not have, the first is 't h'",),
    ),
    "weights are zeros": (
        with_file("model.safetensors", bytes(64)),
        ("model.safetensors", "damaged"),
    ),
    "table of another size": (
        with_setting("vocab_size", 5),
        ("[38, 16]", "vocab_size and d_model [5, 16]"),
    ),
    "table of another width": (with_setting("d_model", 10**9), ("[38, 16]", "[38, 1000000000]")),
    "layers that are not there": (
        with_setting("encoder_layers", 100_000),
        ("encoder_layers 100000", "its tensors are of 2"),
    ),
    "more positions": (
        with_setting("max_position_embeddings", 10**8),
        ("max_position_embeddings 100000000", "shape [42, 16]"),
    ),
    "wider": (
        with_setting("decoder_ffn_dim", 2 * 10**7),
        ("decoder_ffn_dim 20000000", "shape [24, 16]"),
    ),
    "no layers": (
        with_setting("encoder_layers", -1),
        ("encoder_layers -1", "whole numbers above 0"),
    ),
    "heads that do not divide": (
        with_setting("d_model", 16, both_heads=3),
        ("16 does not give 3 heads", "theirs"),
    ),
    "an activation in a list": (
        with_setting("activation_function", ["gelu"]),
        ("activation_function", "gelu, relu"),
    ),
    "head not there": (
        with_setting("tie_word_embeddings", False),
        ("embeddings false", "no 'lm_head.weight'"),
    ),
    "a row as table": (
        table_of_one_row,
        ("'model.shared.weight' has shape [16]", "expected a table"),
    ),
    "layers without end": (
        far_layer,
        ("3 layers in the encoder, the last one numbered 999999999", "without gaps"),
    ),
    "dropout in words": (with_setting("dropout", "much"), ("dropout 'much'", "valid number")),
    "several ends": (
        with_setting("eos_token_id", [2, 3], "generation_config.json"),
        ("eos_token_id [2, 3]", "one"),
    ),
    "a beam of words": (
        with_setting("num_beams", "five", "generation_config.json"),
        ("num_beams 'five'", "a number"),
    ),
    "a beam too wide": (
        with_setting("num_beams", 5000, "generation_config.json"),
        ("its settings make generation.beam: found 5000, expected 1 to 1000",),
    ),
    "no file": (no_file, ("neither a file nor a folder", "expected")),
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
    for call in (
        lambda: import_run(tmp_path / "theirs", tmp_path / "out"),
        lambda: export_run(tmp_path / "theirs", tmp_path / "out", "safetensors"),
    ):
        with pytest.raises(UserError, match="is not empty"):
            call()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]


@pytest.mark.parametrize("there", [False, True])
def test_an_import_that_is_broken_off_leaves_the_place_free(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_bart(tmp_path / "theirs")
    out = tmp_path / "out"
    if there:
        out.mkdir()

    def broken_off(*_: object, **__: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(writing, "write_pointer", broken_off)
        with pytest.raises(OSError, match="no space left"):
            import_run(tmp_path / "theirs", out)
    assert out.exists() == there and not list(out.rglob("*"))
    import_run(tmp_path / "theirs", out)


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    save_bart(tmp_path / "theirs")
    (tmp_path / "file").write_text("1")
    for out, words in (
        (tmp_path / "file", "is a file"),
        (tmp_path / "file" / "run", "is a file"),
        (Path("/proc/none/run"), "not writable"),
    ):
        with pytest.raises(UserError, match=words):
            import_run(tmp_path / "theirs", out)
    with pytest.raises(UserError, match="--tokenizer '.*none' is no folder"):
        import_run(tmp_path / "theirs", tmp_path / "out", tokenizer=tmp_path / "none")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "theirs"]


def test_an_instruction_that_asks_for_more_than_is_there(tmp_path: Path) -> None:
    save_bart(tmp_path / "theirs")
    with pytest.raises(UserError) as caught:
        import_run(
            tmp_path / "theirs", tmp_path / "out", instructions=["[IMAGE:img] what? -> [TEXT:cap]"]
        )
    assert "missing" in str(caught.value) and "(ours)" in str(caught.value)
    with pytest.raises(UserError, match="TEXTS"):
        import_run(tmp_path / "theirs", tmp_path / "out", instructions=["[TEXTS:a] -> [TEXT:b]"])
    with pytest.raises(UserError, match="no regular expression"):
        import_run(tmp_path / "theirs", tmp_path / "out", allow=["("])
    assert not (tmp_path / "out").exists()
