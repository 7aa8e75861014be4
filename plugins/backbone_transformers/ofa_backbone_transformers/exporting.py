"""The model back in a folder of transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ofa_backbone_transformers.folder import BackboneError, read_json
from ofa_backbone_transformers.loading import class_of
from ofa_backbone_transformers.tokens import text_block
from ofacore.parts import quiet_transformers
from ofacore.protocols import BOS, EOS, MASK, UNK, Vocabulary

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_WHISPER = "adapters.whisper."
_GENERATION = "generation_config.json"
_NO_TIMES = "no_timestamps_token_id"
_START_AND_ONE = 2
_READ = {"unk": UNK, "mask": MASK}
"""Tokens that a source may hold and that no answer does."""


@torch.no_grad()
def write_folder(
    folder: Path,
    config: PretrainedConfig,
    special: Mapping[str, int],
    stacks: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Tensor],
    vocabulary: Vocabulary,
    ahead: Mapping[int, Tensor],
) -> None:
    """Write weights and configuration.

    Args:
        folder: Where to; it exists.
        config: Of the model.
        special: Name -> number of a special token.
        stacks: ``encoder`` and ``decoder`` -> weights by name.
        state: The whole model's, for rows of tokens.
        vocabulary: Its blocks.
        ahead: Number of a token that the decoder reads before the start of a target -> its row [H].

    Raises:
        BackboneError: The head has a table of its own, and the folder's model has none.
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
        rows = _rows(state, text, "", special)
        for number in ahead.keys() - {special["eos"]}:
            rows[number] = ahead[number]
        model.get_input_embeddings().weight.copy_(rows)
        _write_head(model, state, text, special)
        _write_bias(model, state, text)
        model.save_pretrained(folder)


def write_side_files(
    folder: Path,
    config: PretrainedConfig,
    generation: Mapping[str, Any],
    prompt: Sequence[int],
) -> None:
    """Write what `generate` is told, and how a sound becomes features.

    Args:
        folder: Where `save_pretrained` wrote the model.
        config: Of the model.
        generation: What the folder that the model came from said; empty: nothing.
        prompt: Tokens that the decoder reads first, the start among them; empty: of a decoder alone.
    """
    file = folder / _GENERATION
    known = generation or (read_json(file) if file.is_file() else {})
    said = {name: value for name, value in known.items() if not name.startswith("_")}
    hears = config.model_type == "whisper"
    if hears:
        said = _asked(said, prompt[1:])
        from transformers import WhisperFeatureExtractor

        WhisperFeatureExtractor(feature_size=config.num_mel_bins).save_pretrained(folder)
    elif len(prompt) == _START_AND_ONE:
        said["forced_bos_token_id"] = prompt[1]
    file.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def _asked(said: Mapping[str, Any], prompt: Sequence[int]) -> dict[str, Any]:
    """With the language and the task that a Whisper's prompt holds."""
    found = dict(said)
    for key, names in (("language", "lang_to_id"), ("task", "task_to_id")):
        for name, number in said.get(names, {}).items():
            if number in prompt:
                found[key] = name
    if found.get(_NO_TIMES) not in prompt:
        found.pop(_NO_TIMES, None)
    return found


def _rows(
    state: Mapping[str, Tensor], text: str, suffix: str, special: Mapping[str, int]
) -> Tensor:
    """[V, H]: where a core token stood for one of the model's own, what it has learned."""
    rows, core = state[f"embedding.{text}{suffix}"].clone(), state[f"embedding.core{suffix}"]
    if not suffix:
        read = {special[name]: token for name, token in _READ.items() if name in special}
        for number, token in read.items():
            rows[number] = core[token]
    rows[special["eos"]] = core[EOS]
    start = special.get("start", special["eos"])
    first = special.get("bos", start) if start == special["eos"] else start
    if first != special["eos"] and not suffix:
        rows[first] = core[BOS]
    return rows


def _write_head(
    model: Any, state: Mapping[str, Tensor], text: str, special: Mapping[str, int]
) -> None:
    """The rows of the output, where these are not those of the input."""
    table, output = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    own = f"embedding.{text}.output" in state
    if own and output is table:
        raise BackboneError(
            "the model's head has a table of its own (model.tied_head: false), which a folder with one table has no "
            "place for; choose --format ofa"
        )
    if output is not table:
        rows = _rows(state, text, ".output", special) if own else table
        output.copy_(rows)


def _write_bias(model: nn.Module, state: Mapping[str, Tensor], text: str) -> None:
    bias = state.get(f"embedding.{text}.bias")
    if bias is None:
        return
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias.copy_(bias.reshape(1, -1))  # type: ignore[operator,union-attr]
    else:
        model.get_output_embeddings().bias.copy_(bias)  # type: ignore[operator]
