"""A model of ours as a BART of Hugging Face, where its options are those of one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ofa_foreign.formats import bart_names
from ofa_foreign.formats.mapping import given
from ofa_foreign.formats.tokens import EXCLUDED, gathered
from ofacore.config.model_section import ModelConfig
from ofacore.config.sizes import resolve
from ofacore.ground.vocabulary import BOS, EOS, PAD, Vocabulary

_FREE = frozenset(
    {
        "preset",
        "hidden",
        "ffn",
        "heads",
        "encoder_layers",
        "decoder_layers",
        "max_positions",
        "activation",
        "scale_embedding",
        "target_start",
        "dropout",
        "attention_dropout",
        "activation_dropout",
        "encoder_drop_path",
        "decoder_drop_path",
        "adapters",
        "heads_options",
        "preprocessors",
        "checkpoint_activations",
        "source_boundaries",
        "experts_number",
        "experts_k",
        "experts_balance",
        "positions_options",
        "norm_per_adapter",
        "target_type_embedding",
        "output_bias",
        "separator",
    }
)
"""Options that say nothing of the architecture, that a BART may have any value of, or that another one decides."""


def settings(config: ModelConfig, vocabulary: Vocabulary) -> dict[str, Any]:
    """``config.json`` of a BART of our model's sizes."""
    sizes, eos_first = resolve(config), config.target_start != "bos"
    found: dict[str, Any] = {
        "model_type": "bart",
        "architectures": ["BartForConditionalGeneration"],
        "is_encoder_decoder": True,
        "vocab_size": vocabulary.size,
        "d_model": sizes.hidden,
        "max_position_embeddings": config.max_positions,
        "activation_function": config.activation,
        "scale_embedding": config.scale_embedding,
        "dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "activation_dropout": config.activation_dropout,
        "bos_token_id": BOS,
        "pad_token_id": PAD,
        "eos_token_id": EOS,
        "decoder_start_token_id": EOS if eos_first else BOS,
        "forced_bos_token_id": BOS if config.target_start == "eos bos" else None,
        "forced_eos_token_id": None,
        "tie_word_embeddings": True,
    }
    for side, layers in (("encoder", sizes.encoder_layers), ("decoder", sizes.decoder_layers)):
        found |= {
            f"{side}_layers": layers,
            f"{side}_ffn_dim": sizes.ffn,
            f"{side}_attention_heads": sizes.heads,
        }
    return found


def misfits(
    config: ModelConfig,
    vocabulary: Vocabulary,
    names: Collection[str],
    adapters: Collection[str],
    positions: Mapping[str, Any],
) -> list[str]:
    """What of a model no BART has, one line for each option.

    Args:
        config: The model's.
        vocabulary: Its tokens.
        names: Of its portable state.
        adapters: Of its tasks.
        positions: Every option of its position scheme, wherever the configuration sets them.
    """
    theirs = settings(config, vocabulary)
    wanted = ModelConfig.model_validate(
        bart_names.model_options(theirs, Path("config.json"))
    ).model_dump()
    own = config.model_dump()
    found = [
        f"model.{name} is {own[name]!r}; a BART has {value!r}"
        for name, value in wanted.items()
        if name not in _FREE and own[name] != value
    ]
    if own["positions"] == wanted["positions"]:
        found += [
            f"options.positions/{own['positions']}.{name} is {positions[name]!r}; a BART has {value!r}"
            for name, value in wanted["positions_options"].items()
            if positions[name] != value
        ]
    found += [f"adapter {name}: a BART reads tokens alone" for name in adapters if name != "token"]
    if found:
        return found
    made = {entry.ours for entry in bart_names.entries(theirs)}
    return [
        f"{name}: a BART has no such tensor"
        for name in names
        if not name.startswith("embedding.") and name not in made
    ]


def tensors(
    config: ModelConfig,
    vocabulary: Vocabulary,
    state: Mapping[str, Tensor],
    silent: Collection[int],
) -> dict[str, Tensor]:
    """Names and tensors of a BART, whose token ids are ours.

    Args:
        config: The model's.
        vocabulary: Its tokens.
        state: Its portable state.
        silent: Ids that no prediction gives anything to.
    """
    ids = list(range(vocabulary.size))
    found = given(bart_names.entries(settings(config, vocabulary)), state, {})
    biased = any(name.startswith("embedding.") and name.endswith(".bias") for name in state)
    bias = (
        gathered(vocabulary, ids, state, ".bias").float()
        if biased
        else torch.zeros(vocabulary.size)
    )
    bias[sorted(silent)] = EXCLUDED
    return {
        **found,
        bart_names.TABLE: gathered(vocabulary, ids, state),
        bart_names.BIAS: bias[None],
    }
