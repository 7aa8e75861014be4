"""Files of tokenizers as they lie on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ofa_modality_text.tokenizer import TokenizerError
from ofacore.plugin import JsonError, read_object


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        TokenizerError: It cannot be read or is something else.
    """
    try:
        return read_object(path)
    except JsonError as error:
        raise TokenizerError(str(error)) from error


def read_merges(path: Path) -> list[tuple[str, str]]:
    """Rules of a BPE, two tokens a line.

    Raises:
        TokenizerError: A line is something else.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise TokenizerError(f"{path}: damaged or not UTF-8 ({error})") from error
    lines = [line.removesuffix("\r") for line in lines]
    rules = [line.split(" ") for line in lines if line.strip() and not line.startswith("#version")]
    wrong = next((rule for rule in rules if len(rule) != 2), None)
    if wrong is not None:
        raise TokenizerError(f"{path}: '{' '.join(wrong)}' is no merge of two tokens")
    return [(first, second) for first, second in rules]
