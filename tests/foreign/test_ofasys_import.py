"""A checkpoint of OFASys, as its trainer writes it, computes here what it computed there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ofa_foreign.exporting import export_run
from ofa_foreign.importing import import_run
from ofacore.checkpoint import CheckpointError
from ofacore.generalist.facade import Generalist
from tests.foreign.computed import answers, our_logits
from tests.foreign.ofasys_file import STORED, stored_case, write_checkpoint

pytestmark = pytest.mark.skipif(
    not STORED.is_dir(), reason="needs the stored numbers of the original"
)
TEXT = STORED / "text"


@pytest.mark.parametrize("new", [True, False], ids=["archive", "legacy"])
@torch.no_grad()
def test_logits_are_those_of_the_original(new: bool, tmp_path: Path) -> None:
    template = "[TEXT:source] -> [TEXT:target]"
    state = stored_case(TEXT, tmp_path / "checkpoint_last.pt", template=template, new=new)
    report = import_run(tmp_path / "checkpoint_last.pt", tmp_path / "run")
    assert dict(report.tasks) == {"summary": template}
    ours = Generalist.from_pretrained(tmp_path / "run")
    words = {row: word for word, row in json.loads((TEXT / "dictionary.json").read_text()).items()}
    stored = load_file(TEXT / "io.safetensors")
    for case in ("text_to_text", "text_to_text_no_pad"):
        source, target = stored[f"{case}/slot_0"], stored[f"{case}/target"]
        for row in range(len(target)):
            inside = [
                [i for i in ids[row].tolist() if words[i].startswith("<text>")]
                for ids in (source, target)
            ]
            values = dict(
                zip(
                    ("source", "target"),
                    (" ".join(words[i] for i in ids) for ids in inside),
                    strict=True,
                )
            )
            read, written, found = our_logits(ours, values, "summary")
            assert read == [0, *inside[0], 2] and written == [0, *inside[1]]
            expected = stored[f"{case}/logits"][row, : len(found)]
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        if case == "text_to_text":
            for row, ids in enumerate(source):
                asked = " ".join(words[i] for i in ids.tolist() if words[i].startswith("<text>"))
                check_searches(ours, asked, row)
    export_run(tmp_path / "run", tmp_path / "back", "safetensors")
    written_back = load_file(tmp_path / "back" / "model.safetensors")
    assert set(written_back) == set(state)
    assert all(
        written_back[name].equal(tensor) and written_back[name].dtype == tensor.dtype
        for name, tensor in state.items()
    )


def check_searches(ours: Generalist, asked: str, row: int) -> None:
    """Every stored search, with the settings that come along and those that it was told."""
    names = {
        "beam": "beam",
        "max_len": "max_length",
        "min_len": "min_length",
        "no_repeat_ngram_size": "no_repeat_ngram",
        "return_n_best": "n_best",
    }
    stored = json.loads((TEXT / "generation.json").read_text())
    for search in stored["text_to_text"].values():
        told = search["args"]
        options = {ours_name: told[name] for name, ours_name in names.items() if name in told}
        options |= {"length_penalty": told["lenpen"]} if told.get("normalize_scores") else {}
        expected = [one["tokens"][:-1] for one in search["hypotheses"][row]]
        assert answers(ours, {"source": asked}, options, "summary")[: len(expected)] == expected, (
            told
        )


@torch.no_grad()
def test_a_model_that_sees_gets_the_adapter_that_it_was_trained_with(tmp_path: Path) -> None:
    folder = STORED / "patch"
    stored_case(folder, tmp_path / "a.pt", template="[IMAGE:img] [TEXT:source] -> [TEXT:target]")
    report = import_run(tmp_path / "a.pt", tmp_path / "run")
    assert (
        report.tasks["summary"]
        == "[IMAGE:img,adapter=image_patch_embed] [TEXT:source] -> [TEXT:target]"
    )
    ours = Generalist.from_pretrained(tmp_path / "run")
    assert ours.assembly.config.options["preprocessor/image"] == {"size": 56}
    words = {
        row: word for word, row in json.loads((folder / "dictionary.json").read_text()).items()
    }
    stored = load_file(folder / "io.safetensors")
    pictures, target = (stored[f"image_text_to_text/{name}"] for name in ("slot_0", "target"))
    for row in range(len(target)):
        values = {"img": pictures[row].permute(1, 2, 0).numpy()}
        for name, ids in (("source", stored["image_text_to_text/slot_1"]), ("target", target)):
            values[name] = " ".join(
                words[i] for i in ids[row].tolist() if words[i].startswith("<text>")
            )
        found = our_logits(ours, values, "summary")[2]
        expected = stored["image_text_to_text/logits"][row, : len(found)]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_experts_by_modality_begin_as_the_dense_model(tmp_path: Path) -> None:
    state = stored_case(TEXT, tmp_path / "a.pt")
    import_run(tmp_path / "a.pt", tmp_path / "dense")
    import_run(tmp_path / "a.pt", tmp_path / "experts", experts="modality")
    dense, experts = (Generalist.from_pretrained(tmp_path / name) for name in ("dense", "experts"))
    assert any(".ffn.each.token." in name for name, _ in experts.model.named_parameters())
    row = {"source": "<text>_5 <text>_9 <text>_20", "target": "<text>_7 <text>_30"}
    assert our_logits(experts, row)[2].equal(our_logits(dense, row)[2])
    export_run(tmp_path / "experts", tmp_path / "back", "safetensors")
    back = load_file(tmp_path / "back" / "model.safetensors")
    assert all(back[name].equal(tensor) for name, tensor in state.items())


def test_a_checkpoint_without_dictionary_is_told(tmp_path: Path) -> None:
    stored_case(TEXT, tmp_path / "a.pt", places=None)
    with pytest.raises(
        CheckpointError, match="no dictionary of its 304 tokens: found a.pt; expected vocab.json"
    ):
        import_run(tmp_path / "a.pt", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_names_and_shapes_that_do_not_match_are_all_told(tmp_path: Path) -> None:
    state = load_file(TEXT / "state_dict.safetensors")
    del state["encoder.layers.1.fc1.bias"]
    state["decoder.layers.0.fc2.weight"] = torch.zeros(64, 100)
    state["decoder.surprise"] = torch.ones(2)
    settings, places = (
        json.loads((TEXT / f"{name}.json").read_text()) for name in ("model_config", "dictionary")
    )
    write_checkpoint(tmp_path / "a.pt", state, settings, places)
    with pytest.raises(CheckpointError) as caught:
        import_run(tmp_path / "a.pt", tmp_path / "run")
    message = str(caught.value)
    assert "encoder.layers.1.fc1.bias" in message or "encoder.1.ffn.up.bias" in message
    assert "unexpected: decoder.surprise" in message
    assert "decoder.layers.0.fc2.weight: found [64, 100], expected [64, 128]" in message
    assert not (tmp_path / "run").exists()
    report = import_run(
        tmp_path / "a.pt",
        tmp_path / "run",
        allow=["surprise", r"fc2\.weight$", r"fc1\.bias|up\.bias"],
    )
    assert len(report.allowed) == 3
    export_run(tmp_path / "run", tmp_path / "back", "safetensors")
    assert load_file(tmp_path / "back" / "model.safetensors")["decoder.surprise"].equal(
        torch.ones(2)
    )


def test_weights_that_no_instruction_uses_are_told_and_kept(tmp_path: Path) -> None:
    state = stored_case(STORED / "patch", tmp_path / "a.pt")
    report = import_run(
        tmp_path / "a.pt", tmp_path / "run", instructions=["[TEXT:source] -> [TEXT:target]"]
    )
    assert any("adapter image_patch_embed of the source" in line for line in report.left_out), (
        report.left_out
    )
    export_run(tmp_path / "run", tmp_path / "back", "safetensors")
    back = load_file(tmp_path / "back" / "model.safetensors")
    assert set(back) == set(state) and all(
        back[name].equal(tensor) for name, tensor in state.items()
    )


def test_a_trunk_and_bins_of_boxes_come_and_go_unchanged(tmp_path: Path) -> None:
    """The state of a model with a ResNet: names as the trainer lists them, numbers at random."""
    torchvision = pytest.importorskip("torchvision")
    state = load_file(TEXT / "state_dict.safetensors")
    settings, places = (
        json.loads((TEXT / f"{name}.json").read_text()) for name in ("model_config", "dictionary")
    )
    places |= {f"<bin>_{number}": len(places) + number for number in range(1000)}
    table = torch.cat([state["encoder.adaptor.embed_tokens.weight"], torch.randn(1000, 64)])
    state |= {f"{side}.adaptor.embed_tokens.weight": table for side in ("encoder", "decoder")}
    shapes = {
        f"layernorm_{what}.{leaf}": (64,)
        for what in ("embedding", "position")
        for leaf in ("weight", "bias")
    }
    shapes |= {
        "type_embedding.weight": (1, 64),
        "embed_image_positions.weight": (65, 64),
        "image_proj.bias": (64,),
    }
    shapes |= {
        "image_proj.weight": (64, 1024),
        **{f"image_rel_pos_table_list.{n}.weight": (228, 4) for n in range(2)},
    }
    own = {name: torch.randn(shape) for name, shape in shapes.items()} | {
        "image_rp_bucket": torch.zeros(65, 65).long()
    }
    trunk = torchvision.models.resnet50().state_dict()
    own |= {
        f"embed_images.{n}": value
        for n, value in trunk.items()
        if not n.startswith(("layer4", "fc"))
    }
    state |= {f"encoder.adaptor.image_resnet.{name}": value for name, value in own.items()}
    settings["adaptor"]["image_resnet"] |= {
        "is_active": True,
        "resnet_type": "resnet50",
        "image_bucket_size": 8,
    }
    template = '[IMAGE:img] which region does the text " [TEXT:cap] " describe? -> [BOX:region]'
    write_checkpoint(tmp_path / "a.pt", state, settings, places, template=template)
    report = import_run(tmp_path / "a.pt", tmp_path / "run")
    assert "[IMAGE:img,adapter=image_resnet]" in report.tasks["summary"] and not report.unowned
    export_run(tmp_path / "run", tmp_path / "back", "safetensors")
    back = load_file(tmp_path / "back" / "model.safetensors")
    assert set(back) == set(state) and all(
        back[name].equal(tensor) for name, tensor in state.items()
    )
