"""Checkpoints as people really have them: what can be read is read, and what cannot says what to do."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BartForConditionalGeneration

from ofa_foreign.exporting import export_run
from ofa_foreign.importing import import_run
from ofacore.generalist.facade import Generalist
from ofacore.ground.errors import UserError
from tests.foreign.bart import save_bart
from tests.foreign.computed import our_logits
from tests.foreign.ofasys_file import write_checkpoint
from tests.foreign.ofasys_state import SETTINGS, random_state
from tests.foreign.test_trainer_files import dictionary, round_trip

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 557709915\n"


def changed(folder: Path, change: Callable[[Tensor], Tensor], only: str = "") -> dict[str, Tensor]:
    """Write a BART whose tensors are changed; returns them."""
    save_bart(folder)
    state = {
        n: change(t) if only in n else t for n, t in load_file(folder / "model.safetensors").items()
    }
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return state


def exported(run: Path, out: Path) -> dict[str, Tensor]:
    export_run(run, out, "safetensors")
    return load_file(out / "model.safetensors")


@pytest.mark.parametrize("name", ["config.json", "vocab.json", "generation_config.json"])
def test_a_small_file_of_a_folder_stands_for_the_folder(name: str, tmp_path: Path) -> None:
    save_bart(tmp_path / "theirs")
    assert import_run(tmp_path / "theirs" / name, tmp_path / "run").tokens == 38


def test_an_index_of_several_files_stands_for_the_folder(tmp_path: Path) -> None:
    model = save_bart(tmp_path / "theirs")
    (tmp_path / "theirs" / "model.safetensors").unlink()
    model.save_pretrained(tmp_path / "theirs", max_shard_size="5KB")
    import_run(tmp_path / "theirs" / "model.safetensors.index.json", tmp_path / "run")
    back = exported(tmp_path / "run", tmp_path / "back")
    assert all(
        back[name].equal(tensor) for name, tensor in model.state_dict().items() if name in back
    )


@torch.no_grad()
def test_a_bart_that_was_saved_without_its_head(tmp_path: Path) -> None:
    """`BartModel.save_pretrained`: no name begins with ``model.``, the head is the token table."""
    theirs = save_bart(tmp_path / "theirs")
    theirs.model.save_pretrained(tmp_path / "theirs")
    theirs.final_logits_bias.zero_()
    import_run(tmp_path / "theirs", tmp_path / "run")
    read, written, found = our_logits(
        Generalist.from_pretrained(tmp_path / "run"), {"source": "abcd a", "target": "b"}
    )
    expected = theirs(torch.tensor([read]), decoder_input_ids=torch.tensor([written])).logits[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    before, back = (
        load_file(tmp_path / "theirs" / "model.safetensors"),
        exported(tmp_path / "run", tmp_path / "back"),
    )
    assert set(back) == set(before) and all(
        back[name].equal(tensor) for name, tensor in before.items()
    )
    export_run(tmp_path / "run", tmp_path / "bart", "hf-bart")
    again = BartForConditionalGeneration.from_pretrained(tmp_path / "bart").eval()
    logits = again(torch.tensor([read]), decoder_input_ids=torch.tensor([written])).logits[0]
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "config.json"])
def test_files_that_an_editor_of_windows_wrote(name: str, tmp_path: Path) -> None:
    """A mark before the text, and lines with two ends."""
    save_bart(tmp_path / "theirs")
    save_bart(tmp_path / "plain")
    file = tmp_path / "theirs" / name
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    runs = []
    for folder in ("theirs", "plain"):
        import_run(tmp_path / folder, tmp_path / f"run-{folder}")
        runs.append(Generalist.from_pretrained(tmp_path / f"run-{folder}"))
    found, expected = (our_logits(run, {"source": "abcd ab", "target": "a"}) for run in runs)
    assert found[:2] == expected[:2] and found[2].equal(expected[2])


def test_names_of_lightning_are_found_and_written_back(tmp_path: Path) -> None:
    places = dictionary()
    state = {f"model.{name}": tensor for name, tensor in random_state(len(places)).items()}
    write_checkpoint(
        tmp_path / "a.ckpt", state, SETTINGS, places, more={"model": None, "state_dict": state}
    )
    import_run(tmp_path / "a.ckpt", tmp_path / "run")
    round_trip(tmp_path / "run", tmp_path / "back", state)


def test_an_export_is_imported_again(tmp_path: Path) -> None:
    save_bart(tmp_path / "theirs")
    import_run(tmp_path / "theirs", tmp_path / "run")
    first = exported(tmp_path / "run", tmp_path / "back")
    import_run(tmp_path / "back", tmp_path / "again")
    second = exported(tmp_path / "again", tmp_path / "twice")
    assert set(first) == set(second) and all(first[name].equal(second[name]) for name in first)


def test_numbers_that_lose_digits_or_are_none_are_told(tmp_path: Path) -> None:
    changed(tmp_path / "double", torch.Tensor.double)
    assert any(
        "float64 were rounded" in line
        for line in import_run(tmp_path / "double", tmp_path / "a").lines()
    )
    changed(tmp_path / "nan", lambda tensor: tensor * float("nan"), "encoder.layers.0.fc1.weight")
    lines = import_run(tmp_path / "nan", tmp_path / "b").lines()
    assert any(
        "1 tensors hold NaN, such as 'model.encoder.layers.0.fc1.weight'" in line for line in lines
    )
    save_bart(tmp_path / "sound")
    assert not import_run(tmp_path / "sound", tmp_path / "c").notes


def pointer(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        save_bart(folder)
        (folder / "model.safetensors").unlink()
        (folder / name).write_text(POINTER)
        return folder

    return make


def pointer_of_a_trainer(folder: Path) -> Path:
    folder.mkdir()
    (folder / "a.pt").write_text(POINTER)
    return folder / "a.pt"


def quantised(folder: Path) -> Path:
    changed(folder, lambda tensor: tensor.to(torch.int8), "fc1.weight")
    return folder


def quantised_table(folder: Path) -> Path:
    changed(folder, lambda tensor: tensor.to(torch.int8), "shared.weight")
    return folder


def packed(folder: Path) -> Path:
    save_bart(folder)
    with zipfile.ZipFile(folder / "bart.zip", "w") as archive:
        archive.write(folder / "config.json", "bart/config.json")
    return folder / "bart.zip"


def hub_name(folder: Path) -> Path:
    return Path("facebook/bart-base")


def no_tensors(folder: Path) -> Path:
    save_bart(folder)
    save_file({}, folder / "model.safetensors")
    return folder


def lost_part(folder: Path) -> Path:
    save_bart(folder).save_pretrained(folder, max_shard_size="5KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    next(iter(sorted(folder.glob("model-0*")))).unlink()
    return folder


def low_rank(folder: Path) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    save_file({"a": torch.ones(2)}, folder / "adapter_model.safetensors")
    return folder


ODD: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "pointer": (
        pointer("model.safetensors"),
        ("model.safetensors", "pointer of Git LFS", "git lfs pull"),
    ),
    "pointer of a bin": (pointer("pytorch_model.bin"), ("pytorch_model.bin", "pointer of Git LFS")),
    "pointer of a trainer's file": (pointer_of_a_trainer, ("a.pt", "pointer of Git LFS")),
    "quantised": (quantised, ("4 tensors hold whole numbers", "fc1.weight': int8", "unquantised")),
    "quantised table": (quantised_table, ("1 tensors hold whole numbers", "shared.weight': int8")),
    "zip": (packed, ("bart.zip", "holds bart/config.json", "unpack it")),
    "name of the hub": (
        hub_name,
        ("nothing is fetched", "hf download facebook/bart-base --local-dir FOLDER"),
    ),
    "no tensors": (no_tensors, ("found 0 tensors", "no token table")),
    "lost part": (lost_part, ("model-00001-of", "no such file")),
    "low rank": (low_rank, ("found adapter_config.json, adapter_model.safetensors", "expected")),
}


@pytest.mark.parametrize("name", ODD)
def test_what_cannot_be_read_says_what_to_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, words = ODD[name]
    path = make(tmp_path / "theirs")
    with pytest.raises(UserError) as caught:
        import_run(path, tmp_path / "out")
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)
    assert not (tmp_path / "out").exists()
