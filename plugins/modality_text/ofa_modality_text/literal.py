"""Reading a user's text letter by letter: what spells a special token stays text, whatever the tokenizer.

A tokenizer finds its special tokens wherever a text spells them, and some kinds find them in their vocabulary too. The
copy that is made here has the same ids, but calls these tokens what no text spells.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer

_UNSPELLABLE = " \ufdd0"
"""A blank, which pre-tokenizers cut at or replace, and a code point that is no character by definition."""


def literal(tokenizer: Tokenizer) -> Tokenizer:
    """A copy for encoding without special tokens; the tokenizer itself if it has none."""
    content = json.loads(tokenizer.to_str())
    added = content.get("added_tokens") or []
    names = {
        token["content"]: f"{_UNSPELLABLE}{token['content']}"
        for token in added
        if token.get("special")
    }
    if not names:
        return tokenizer
    content["added_tokens"] = [
        {**token, "content": names.get(token["content"], token["content"])} for token in added
    ]
    content["model"] = _renamed(content["model"], names)
    return Tokenizer.from_str(json.dumps({**content, "post_processor": None}))


def _renamed(model: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A model whose vocabulary calls some tokens otherwise, and makes them by no merge."""
    changed = dict(model)
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, dict):
        changed["vocab"] = {names.get(token, token): number for token, number in vocabulary.items()}
    elif isinstance(vocabulary, list):
        changed["vocab"] = [[names.get(token, token), score] for token, score in vocabulary]
    if isinstance(model.get("unk_token"), str):
        changed["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    if model.get("merges"):
        changed["merges"] = [rule for rule in model["merges"] if not _makes(rule, names)]
    return changed


def _makes(rule: Any, names: Mapping[str, str]) -> bool:
    """Whether a merge is of, or makes, one of these tokens."""
    first, second = rule.split(" ") if isinstance(rule, str) else rule
    return bool({first, second, first + second} & names.keys())
