"""The model back in a folder of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ofa_backbone_transformers.loading import class_of
from ofa_backbone_transformers.tokens import text_block
from ofacore.parts import quiet_transformers
from ofacore.protocols import BOS, EOS, Vocabulary

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_WHISPER = "adapters.whisper."


@torch.no_grad()
def write_folder(
    folder: Path,
    config: PretrainedConfig,
    special: Mapping[str, int],
    stacks: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Tensor],
    vocabulary: Vocabulary,
) -> None:
    """Write weights and configuration.

    Args:
        folder: Where to; it exists.
        config: Of the model.
        special: Name -> number of a special token.
        stacks: ``encoder`` and ``decoder`` -> weights by name.
        state: The whole model's, for rows of tokens.
        vocabulary: Its blocks.
    """
    with quiet_transformers():
        model = class_of(config)._from_config(config, dtype=torch.float32)
        encodes = config.is_encoder_decoder
        parts = {"decoder": model.get_decoder() if encodes else model.base_model}
        if encodes:
            parts["encoder"] = model.get_encoder()
        for name, part in parts.items():
            part.load_state_dict(stacks[name], strict=False)
        sounds = {k.removeprefix(_WHISPER): v for k, v in state.items() if k.startswith(_WHISPER)}
        if sounds:
            parts["encoder"].load_state_dict(sounds, strict=False)
        text = text_block(vocabulary, int(config.vocab_size)).name
        model.get_input_embeddings().weight.copy_(_rows(state, text, "", special))
        if f"embedding.{text}.output" in state:
            model.get_output_embeddings().weight.copy_(_rows(state, text, ".output", special))
        _write_bias(model, state, text)
        model.save_pretrained(folder)


def _rows(
    state: Mapping[str, Tensor], text: str, suffix: str, special: Mapping[str, int]
) -> Tensor:
    """[V, H]: where a core token stood for one of the model's own, what it has learned."""
    rows, core = state[f"embedding.{text}{suffix}"].clone(), state[f"embedding.core{suffix}"]
    rows[special["eos"]] = core[EOS]
    start = special.get("start", special["eos"])
    first = special.get("bos", start) if start == special["eos"] else start
    if first != special["eos"] and not suffix:
        rows[first] = core[BOS]
    return rows


def _write_bias(model: nn.Module, state: Mapping[str, Tensor], text: str) -> None:
    bias = state.get(f"embedding.{text}.bias")
    if bias is None:
        return
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias.copy_(bias.reshape(1, -1))  # type: ignore[operator,union-attr]
    else:
        model.get_output_embeddings().bias.copy_(bias)  # type: ignore[operator]
