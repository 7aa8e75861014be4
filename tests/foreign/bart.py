"""Small BARTs with random weights, as `transformers` saves them, with a dictionary of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import BartConfig, BartForConditionalGeneration

BLANK = "\u0120"
MERGES = ("a b", "c d", f"{BLANK} a", f"{BLANK} b", f"{BLANK}a b", "ab cd")
MERGED = tuple(rule.replace(" ", "") for rule in MERGES)
WORDS = ("<s>", "<pad>", "</s>", "<unk>", BLANK, *"abcdefghijklmnopqrstuvwxyz", *MERGED)
SIZES = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 40,
}


def save_bart(
    folder: Path,
    *,
    seed: int = 1,
    unnamed: int = 0,
    shuffled: bool = False,
    generation: dict[str, Any] | None = None,
    **config: Any,
) -> BartForConditionalGeneration:
    """Write a model and its dictionary.

    Args:
        unnamed: Rows of the token table that no token of the dictionary has.
        shuffled: The dictionary's words stand in another order, core tokens too.
        generation: Settings of ``generation_config.json``.
        config: Settings of ``config.json``.
    """
    torch.manual_seed(seed)
    words = [*WORDS, "<mask>"]
    if shuffled:
        words = [words[i] for i in torch.randperm(len(words)).tolist()]
    core = {
        f"{name}_token_id": words.index(word)
        for name, word in (("bos", "<s>"), ("pad", "<pad>"), ("eos", "</s>"))
    }
    core |= {
        "decoder_start_token_id": core["eos_token_id"],
        "forced_eos_token_id": core["eos_token_id"],
    }
    settings = {**SIZES, **core, "vocab_size": len(words) + unnamed, "init_std": 0.5, **config}
    model = BartForConditionalGeneration(BartConfig(**settings)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape) * 0.1)
        model.final_logits_bias.add_(torch.randn(model.final_logits_bias.shape) * 0.3)
    for name, value in (generation or {}).items():
        setattr(model.generation_config, name, value)
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({word: row for row, word in enumerate(words)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]))
    return model
