"""Dictionary files of fairseq: which tokens a model knows, in the order of its rows.

One token and its count a line, behind ``<s>``, ``<pad>``, ``</s>`` and ``<unk>``, which the file does not hold. For
GPT-2's BPE the tokens are its numbers, in the order of their frequency; a few made-up words fill the table up.
"""

from __future__ import annotations

import re
from pathlib import Path

from ofa_modality_text.tokenizer import TokenizerError

FILE = "dict.txt"
_OVERWRITE = "#fairseq:overwrite"
_NOT_TEXT = re.compile(r"<(s|pad|/s|unk|mask)>|<(bin|code|phone)[_>].*")
_FILLER = re.compile(r"madeupword\d+")


def read_dictionary(path: Path) -> list[str]:
    """Tokens of text in their order, without core tokens and those of other modalities (``<bin_7>``, ``<code_7>``).

    Raises:
        TokenizerError: No such file, not UTF-8, or a line is no token and count; names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise TokenizerError(f"no file '{path}'") from None
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{path}: not UTF-8 ({error})") from error
    words = [_word(line, number, path) for number, line in enumerate(lines, 1) if line.strip()]
    found = [word for word in dict.fromkeys(words) if not _NOT_TEXT.fullmatch(word)]
    if not found:
        raise TokenizerError(f"{path}: holds no tokens; expected lines such as '262 18346'")
    return found


def is_filler(word: str) -> bool:
    """True for a word that only fills a dictionary up."""
    return _FILLER.fullmatch(word) is not None


def write_dictionary(path: Path, tokens: list[str]) -> None:
    """The same format, with counts of 1."""
    path.write_text("".join(f"{token} 1\n" for token in tokens), encoding="utf-8")


def _word(line: str, number: int, path: Path) -> str:
    word, _, count = line.rstrip().removesuffix(_OVERWRITE).rstrip().rpartition(" ")
    if not word or not count.isdigit():
        raise TokenizerError(
            f"{path}, line {number}: '{line[:60]}' is no token and count, such as '262 18346'"
        )
    return word
