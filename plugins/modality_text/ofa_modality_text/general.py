"""Tokenizers of imported models by their ``tokenizer.json``, of any kind that `tokenizers` knows.

The tokenizer stays as it is; each of its tokens finds its row in the model's dictionary by name. What it calls unknown,
and its mask, are the model's own core tokens where the dictionary leaves these to the core.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from ofa_modality_text.reading import read_json
from ofa_modality_text.tokenizer import TokenizerError, table_size
from ofacore.protocols import MASK, UNK

FILE = "tokenizer.json"
CORE = {"<unk>": UNK, "<mask>": MASK}
"""Tokens that are core tokens of the model unless the dictionary says otherwise; given as ids, never by a text."""
_RESERVED = {"<s>", "<pad>", "</s>", *CORE}
_PLAIN = {
    "type": "BPE",
    "dropout": None,
    "continuing_subword_prefix": "",
    "end_of_word_suffix": "",
    "byte_fallback": False,
    "ignore_merges": False,
}
_NEUTRAL = (None, "", False)


def read_content(folder: Path) -> dict[str, Any]:
    """The parsed file.

    Raises:
        TokenizerError: It is damaged or holds no model.
    """
    content = read_json(folder / FILE)
    model = content.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict | list):
        raise TokenizerError(f"{folder / FILE}: holds no vocabulary of a tokenizer")
    return content


def is_plain_bpe(content: Mapping[str, Any]) -> bool:
    """Whether it does what GPT-2's byte-level BPE does, no more."""
    model, before = content["model"], content.get("pre_tokenizer") or {}
    usual = all(
        model.get(key) == value or model.get(key) in _NEUTRAL
        for key, value in _PLAIN.items()
        if key != "type"
    )
    bytes_only = before.get("type") == "ByteLevel" and before.get("use_regex", True)
    bytes_only = bytes_only and not before.get("add_prefix_space")
    more = content.get("normalizer") or any(
        not token.get("special") for token in content.get("added_tokens") or ()
    )
    return bool(model.get("type", "BPE") == "BPE" and usual and bytes_only and not more)


def general_tokenizer(
    folder: Path, content: Mapping[str, Any], names: Sequence[str], numbered: Mapping[int, str]
) -> tuple[Tokenizer, list[str], dict[str, int]]:
    """The tokenizer, the name of each of its tokens in the dictionary (empty: none), and those that are core tokens.

    Args:
        folder: For messages.
        content: The parsed file.
        names: The model's dictionary; core tokens have no name in it.
        numbered: Number of a token -> name, for dictionaries of numbers.

    Raises:
        TokenizerError: It cannot be built, or has tokens that the dictionary lacks.
    """
    known = set(names) - {""}
    tokenizer = _built(folder, content, known)
    vocabulary = tokenizer.get_vocab()
    found = [""] * table_size(tokenizer)
    for token, number in vocabulary.items():
        choices = (numbered.get(number, ""), token, f"<text>_{token}")
        found[number] = next((name for name in choices if name and name in known), "")
    core = _core(
        content, {token: number for token, number in vocabulary.items() if not found[number]}
    )
    excused = {*core, *_RESERVED, *_special(content)}
    lost = sorted(
        token for token, number in vocabulary.items() if not found[number] and token not in excused
    )
    if lost:
        what = f"{len(lost)} of its {len(vocabulary)} tokens are not in the model's dictionary, such as '{lost[0]}'"
        raise TokenizerError(
            f"{folder / FILE}: {what}; expected the tokenizer that the model was trained with"
        )
    return tokenizer, found, core


def _built(folder: Path, content: Mapping[str, Any], known: set[str]) -> Tokenizer:
    """Without limits, and without special tokens that the dictionary does not have."""
    kept = known | set(CORE)
    added = [
        t
        for t in content.get("added_tokens") or ()
        if not t.get("special") or t.get("content") in kept
    ]
    text = json.dumps(
        {
            **content,
            "added_tokens": added,
            "truncation": None,
            "padding": None,
            "post_processor": None,
        }
    )
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # the library raises no narrower class
        raise TokenizerError(
            f"{folder / FILE}: no tokenizer can be made of it ({error})"
        ) from error


def _core(content: Mapping[str, Any], free: Mapping[str, int]) -> dict[str, int]:
    """Token -> our core token, of tokens that have no row of their own."""
    model = content["model"]
    unknown = model.get("unk_token")
    if isinstance(model.get("vocab"), list) and isinstance(model.get("unk_id"), int):
        unknown = model["vocab"][model["unk_id"]][0]
    wanted = {**CORE, **({unknown: UNK} if isinstance(unknown, str) else {})}
    return {token: core for token, core in wanted.items() if token in free}


def _special(content: Mapping[str, Any]) -> set[str]:
    return {
        str(token.get("content"))
        for token in content.get("added_tokens") or ()
        if token.get("special")
    }
