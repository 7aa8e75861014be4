"""A folder of OFA under either spelling of its names is the same model as under OFASys' names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ofa_foreign.exporting import export_run
from ofa_foreign.importing import import_run
from ofacore.generalist.facade import Generalist
from tests.foreign.computed import our_logits
from tests.foreign.ofasys_file import STORED

pytestmark = pytest.mark.skipif(
    not STORED.is_dir(), reason="needs the stored numbers of the original"
)
TEXT = STORED / "text"
MODULES = {
    r"^(encoder|decoder)\.adaptor\.embed_tokens\.": r"\1.embed_tokens.",
    r"^encoder\.adaptor\.pos_": r"encoder.pos_",
    r"^decoder\.adaptor\.pos_": r"decoder.self_pos_",
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


def published(state: dict[str, torch.Tensor], spelling: dict[str, str]) -> dict[str, torch.Tensor]:
    """The same tensors as OFA has them."""
    found = {}
    for name, tensor in state.items():
        if name.startswith("decoder.adaptor.text.type_embedding"):
            continue
        for pattern, replacement in {**MODULES, **spelling}.items():
            name = re.sub(pattern, replacement, name)
        found[name] = tensor
    types = "encoder.type_embedding.weight"
    found[types] = torch.cat([found[types], torch.full_like(found[types], 0.25)])
    found["decoder.output_projection.weight"] = found["decoder.embed_tokens.weight"]
    return {name: tensor.clone() for name, tensor in found.items()}


@pytest.mark.parametrize("spelling", [{}, HUGGING_FACE], ids=["fairseq", "transformers"])
@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
@torch.no_grad()
def test_logits_are_those_of_the_original(
    spelling: dict[str, str], safe: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    state = published(load_file(TEXT / "state_dict.safetensors"), spelling)
    places = json.loads((TEXT / "dictionary.json").read_text())
    if safe:
        save_file(state, folder / "model.safetensors")
    else:
        torch.save(state, folder / "pytorch_model.bin")
    config = {
        "model_type": "ofa",
        "d_model": 64,
        "encoder_attention_heads": 4,
        "attn_scale_factor": 2.0,
        "activation_function": "gelu",
        "entangle_position_embedding": False,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.json").write_text(json.dumps(places))
    import_run(folder, tmp_path / "run")
    ours = Generalist.from_pretrained(tmp_path / "run")
    stored = load_file(TEXT / "io.safetensors")
    words = {row: word for word, row in places.items()}
    source, target = stored["text_to_text_no_pad/slot_0"], stored["text_to_text_no_pad/target"]
    for row in range(len(target)):
        ids = [[i for i in part[row].tolist() if i > 3] for part in (source, target)]
        values = dict(
            zip(
                ("source", "target"),
                (" ".join(words[i] for i in part) for part in ids),
                strict=True,
            )
        )
        _, _, found = our_logits(ours, values)
        expected = stored["text_to_text_no_pad/logits"][row, : len(found)]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    export_run(tmp_path / "run", tmp_path / "back", "safetensors")
    back = load_file(tmp_path / "back" / "model.safetensors")
    assert set(back) == set(state)
    assert all(back[name].equal(tensor) for name, tensor in state.items())
