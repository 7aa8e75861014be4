"""Core tokens written in a text, for slots that say ``specials``; no other text ever becomes one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np

from ofacore.protocols import BOS, EOS, MASK, PAD, UNK

WRITTEN: Mapping[str, int] = {
    "<bos>": BOS,
    "<s>": BOS,
    "<pad>": PAD,
    "<eos>": EOS,
    "</s>": EOS,
    "<unk>": UNK,
    "<mask>": MASK,
}
"""How a core token is written: as here, or as in BART and its kin."""
_SPLIT = re.compile(r"(\s*<mask>|<s>|</s>|<bos>|<eos>|<pad>|<unk>)")


def encode_specials(text: str, encode: Callable[[str], np.ndarray]) -> np.ndarray:
    """Ids int64 [n] of a text in which core tokens may be written.

    Blanks before ``<mask>`` belong to it, as in BART's tokenizer.

    Args:
        text: What a row holds.
        encode: Encodes text without any.
    """
    parts = [
        np.array([WRITTEN[part.lstrip()]], np.int64) if number % 2 else encode(part)
        for number, part in enumerate(_SPLIT.split(text))
    ]
    return np.concatenate(parts)
