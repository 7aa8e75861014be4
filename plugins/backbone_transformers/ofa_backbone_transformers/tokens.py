"""Rows of tokens: which of the model's own stand for the core tokens, and where new ones begin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ofa_backbone_transformers.folder import BackboneError
from ofacore.protocols import BOS, EOS, MASK, PAD, UNK, Block, Vocabulary

_TEXT = "text/"
_CORE = "core"
_ALWAYS_SILENT = frozenset({BOS, PAD, UNK, MASK})
"""The model's own rows of these tokens are there, and have the part in predictions that they had."""


def text_block(vocabulary: Vocabulary, size: int) -> Block:
    """The block of the model's own tokens.

    Raises:
        BackboneError: There is none of this size.
    """
    blocks = [block for block in vocabulary.blocks if block.name.startswith(_TEXT)]
    found = [block for block in blocks if block.size == size]
    if len(found) != 1:
        there = ", ".join(f"'{block.name}'" for block in blocks) or "none"
        raise BackboneError(
            f"the model has {size} tokens, but blocks of text are: {there}; text must have its tokenizer: leave out "
            "options.preprocessor/text"
        )
    return found[0]


def ends_in(ends: Sequence[int], size: int, vocabulary: Vocabulary) -> tuple[int, ...]:
    """Ids of the model's own tokens by their number."""
    first = vocabulary.offset(text_block(vocabulary, size).name)
    return tuple(first + number for number in ends)


def silent_in(special: Mapping[str, int], size: int, vocabulary: Vocabulary) -> frozenset[int]:
    """Tokens without a part in predictions: each end is there once, and core tokens that are twins of others."""
    text = text_block(vocabulary, size)
    return _ALWAYS_SILENT | {vocabulary.offset(text.name) + special["eos"]}


def rows_of(
    given: Mapping[str, Tensor], special: Mapping[str, int], vocabulary: Vocabulary, seed: int
) -> dict[str, Tensor]:
    """Rows by block: the model's own, copies of them for the core tokens, and like them for what is new.

    Args:
        given: ``table`` [V, H], ``output`` [V, H] where untied, ``bias`` [V] where there is one.
        special: Name -> number of a special token.
        vocabulary: Blocks of the new model.
        seed: Of what new rows begin with.
    """
    text = text_block(vocabulary, len(given["table"])).name
    found: dict[str, Tensor] = {}
    for name, suffix in (("table", ""), ("output", ".output")):
        if name not in given:
            continue
        rows = given[name]
        found[text + suffix] = rows
        found[_CORE + suffix] = _core_rows(rows, special)
        for number, block in enumerate(vocabulary.blocks):
            if block.name not in (_CORE, text):
                found[block.name + suffix] = _new_rows(rows, block.size, seed + number)
    if "bias" in given:
        found[f"{text}.bias"] = given["bias"]
        core = torch.zeros(6)
        core[EOS] = given["bias"][special["eos"]]
        found[f"{_CORE}.bias"] = core
    return found


def _core_rows(rows: Tensor, special: Mapping[str, int]) -> Tensor:
    """[6, H]: of each core token its own in the model; the mean of all where it has none, as ``<sep>``."""
    core = rows.mean(0).repeat(6, 1)
    start = special.get("start", special["eos"])
    first = special.get("bos", special["eos"]) if start == special["eos"] else start
    named = {
        BOS: first,
        PAD: special.get("pad"),
        EOS: special["eos"],
        UNK: special.get("unk"),
        MASK: special.get("mask"),
    }
    for token, number in named.items():
        if number is not None:
            core[token] = rows[number]
    return core


def _new_rows(rows: Tensor, size: int, seed: int) -> Tensor:
    """[size, H]: drawn around the mean of the model's rows, as far apart as these are."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(size, rows.shape[1], generator=generator)
    return rows.mean(0) + rows.std(0) * drawn
