"""OFA as it was published: a trunk of pictures, codes in the decoder, and a dictionary file for GPT-2's numbers."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import pre_tokenizers
from torch import Tensor

from ofa_foreign.exporting import export_run
from ofa_foreign.importing import import_run
from ofacore.checkpoint import CheckpointError
from ofacore.generalist.facade import Generalist
from tests.foreign.computed import our_logits
from tests.foreign.ofasys_state import (
    HEADS,
    HIDDEN,
    LAYERS,
    filled,
    grid_buckets,
    random_state,
    trunk,
    with_trunk,
)
from tests.foreign.reference import Piece, Reference

IMAGE = r"^encoder\.adaptor\.image_resnet\."
NAMES = {
    r"^(encoder|decoder)\.adaptor\.embed_tokens\.": r"\1.embed_tokens.",
    r"^encoder\.adaptor\.pos_": r"encoder.pos_",
    r"^decoder\.adaptor\.pos_": r"decoder.self_pos_",
    rf"{IMAGE}layernorm_position\.": "encoder.image_pos_ln.",
    rf"{IMAGE}layernorm_embedding\.": "encoder.patch_layernorm_embedding.",
    IMAGE: "encoder.",
    r"^(encoder|decoder)\.adaptor\.text\.layernorm_position\.": r"\1.pos_ln.",
    r"^(encoder|decoder)\.adaptor\.text\.": r"\1.",
}
HUGGING_FACE = {
    r"^(encoder\.layers\.\d\.)attn_ln": r"\1self_attn_mid_layer_norm",
    r"\.self_attn_ln\.": ".self_attn_mid_layer_norm.",
    r"\.cross_attn_ln\.": ".cross_attn_mid_layer_norm.",
    r"\.encoder_attn": ".cross_attn",
    r"\.ffn_layernorm\.": ".ffn_layer_norm.",
}
SETTINGS = {
    "d_model": HIDDEN,
    "encoder_attention_heads": HEADS,
    "decoder_attention_heads": HEADS,
    "attn_scale_factor": 2.0,
    "resnet_type": "resnet50",
    "image_bucket_size": 8,
    "token_bucket_size": 8,
    "entangle_position_embedding": False,
    "encoder_layers": LAYERS,
    "decoder_layers": LAYERS,
}
INSTRUCTION = "[IMAGE:img] [TEXT:source] -> [TEXT:target]"


def published(state: dict[str, Tensor], spelling: dict[str, str]) -> dict[str, Tensor]:
    """The same model under OFA's names, with what it has besides."""
    found = {}
    types = [
        state[f"encoder.adaptor.{name}.type_embedding.weight"] for name in ("text", "image_resnet")
    ]
    for name, tensor in state.items():
        if name.endswith("type_embedding.weight"):
            continue
        for pattern, replacement in {**NAMES, **spelling}.items():
            name = re.sub(pattern, replacement, name)
        found[name] = tensor.clone()
    norms = [
        f"{name}.{leaf}"
        for name in ("code_layernorm_embedding", "image_pos_ln")
        for leaf in ("weight", "bias")
    ]
    tables = {f"image_rel_pos_table_list.{n}.weight": (228, HEADS) for n in range(LAYERS)}
    codes = {
        "embed_image_positions.weight": (65, HIDDEN),
        **{name: (HIDDEN,) for name in norms},
        **tables,
    }
    found |= {f"decoder.{name}": value for name, value in filled(codes).items()}
    found |= {
        "decoder.image_rp_bucket": grid_buckets(8),
        "decoder.image_position_idx": torch.arange(20),
    }
    found["encoder.type_embedding.weight"] = torch.cat(types)
    found["decoder.output_projection.weight"] = found["decoder.embed_tokens.weight"].clone()
    return found


def check(
    run: Path, state: dict[str, Tensor], ids: dict[str, list[int]], row: dict[str, str]
) -> None:
    """Logits of one row; ``ids`` are what its texts are in their dictionary."""
    image = torch.rand(3, 64, 48) * 2 - 1
    network = torch.nn.Module.eval(trunk())
    reference = Reference(state, HEADS, {"image_resnet": network})
    pieces = [Piece("image_resnet", image), Piece("text", torch.tensor([0, *ids["source"], 2]))]
    expected = reference.logits(pieces, torch.tensor([0, *ids["target"]]))
    values = {"img": image.permute(1, 2, 0).numpy(), **row}
    found = our_logits(Generalist.from_pretrained(run), values)
    assert found[:2] == ([0, *ids["source"], 2], [0, *ids["target"]])
    torch.testing.assert_close(found[2], expected, atol=1e-5, rtol=1e-5)


def vocabulary() -> dict[str, int]:
    """GPT-2's bytes and a few merges, with numbers of their own."""
    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "ab", "\u0120a", "\u0120ab"]
    return {word: number for number, word in enumerate(words)}


MERGES = "#version: 0.2\na b\n\u0120 a\n\u0120 ab\n"


@pytest.mark.parametrize(
    "kept", ["encoder.embed_tokens.weight", "decoder.output_projection.weight", ""]
)
@torch.no_grad()
def test_a_folder_for_transformers(kept: str, tmp_path: Path) -> None:
    """Safetensors keep one of several names of a table."""
    words = [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        *vocabulary(),
        *(f"<code_{n}>" for n in range(4)),
        "<mask>",
    ]
    words += [f"<bin_{n}>" for n in range(5)]
    state = with_trunk(random_state(len(words)), "image_resnet", trunk(), 1024)
    theirs = published(state, HUGGING_FACE)
    tables = [
        name
        for name in theirs
        if name.endswith(("embed_tokens.weight", "output_projection.weight"))
    ]
    theirs = {
        name: tensor
        for name, tensor in theirs.items()
        if not kept or name == kept or name not in tables
    }
    folder = tmp_path / "theirs"
    folder.mkdir()
    save_file(theirs, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "ofa", **SETTINGS}))
    (folder / "vocab.json").write_text(json.dumps({word: row for row, word in enumerate(words)}))
    (folder / "merges.txt").write_text(MERGES)
    report = import_run(folder, tmp_path / "run", instructions=[INSTRUCTION])
    assert any("adapter image_vqgan of the target" in line for line in report.left_out)
    row = {"source": " ab c", "target": " ab"}
    ids = {
        "source": [words.index(word) for word in ("\u0120ab", "\u0120", "c")],
        "target": [words.index("\u0120ab")],
    }
    check(tmp_path / "run", state, ids, row)
    export_run(tmp_path / "run", tmp_path / "back", "safetensors")
    back = load_file(tmp_path / "back" / "model.safetensors")
    assert set(back) == set(theirs) and all(
        back[name].equal(tensor) for name, tensor in theirs.items()
    )


@pytest.mark.parametrize("seed", [0, 1])
@torch.no_grad()
def test_a_trainers_file_with_a_dictionary_in_another_order(seed: int, tmp_path: Path) -> None:
    """``dict.txt`` orders GPT-2's numbers, once even twice; a mask, codes and bins follow that it does not hold."""
    numbers = list(vocabulary().values())
    order = [
        numbers[n]
        for n in torch.randperm(
            len(numbers), generator=torch.Generator().manual_seed(seed)
        ).tolist()
    ]
    folder = tmp_path / "theirs"
    folder.mkdir()
    lines = [f"{number} {1000 - place}" for place, number in enumerate(order)]
    lines = [*lines, f"{order[0]} 7", "madeupword0000 0", "madeupword0001 0"]
    (folder / "dict.txt").write_text("".join(f"{line}\n" for line in lines))
    (folder / "encoder.json").write_text(json.dumps(vocabulary()))
    (folder / "vocab.bpe").write_text(MERGES)
    rows = 4 + len(order) + 2 + 1 + 6 + 9
    state = with_trunk(random_state(rows), "image_resnet", trunk(), 1024)
    arguments = argparse.Namespace(arch="ofa_tiny", code_dict_size=6, num_bins=9, **SETTINGS)
    tree = {
        "args": None,
        "cfg": {"_name": None, "model": arguments, "task": argparse.Namespace(num_bins=9)},
    }
    torch.save({**tree, "model": published(state, {})}, folder / "checkpoint.pt")
    report = import_run(folder / "checkpoint.pt", tmp_path / "run", instructions=[INSTRUCTION])
    assert (
        "<code_5>" in report.unowned
        and "<bin_8>" in report.unowned
        and "madeupword0000" in report.unowned
    )
    place = {word: 4 + order.index(number) for word, number in vocabulary().items()}
    ids = {
        "source": [place["\u0120ab"], place["\u0120"], place["c"]],
        "target": [place["\u0120"], place["b"]],
    }
    check(tmp_path / "run", state, ids, {"source": "ab c", "target": "b"})
    check(
        tmp_path / "run", state, ids, {"source": "  ab c\n", "target": " b "}
    )  # the original strips a text


def test_a_dictionary_file_that_is_none(tmp_path: Path) -> None:
    state = published(with_trunk(random_state(40), "image_resnet", trunk(), 1024), {})
    torch.save({"model": state, "args": argparse.Namespace(**SETTINGS)}, tmp_path / "a.pt")
    (tmp_path / "dict.txt").write_text("13 850314647\n<html>\n")
    with pytest.raises(CheckpointError, match="dict.txt: line 2: '<html>' is no token and count"):
        import_run(tmp_path / "a.pt", tmp_path / "run")
