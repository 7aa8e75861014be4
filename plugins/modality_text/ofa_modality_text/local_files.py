"""Tokenizers from the local files of models of the OFA family: GPT-2's BPE and BERT's word pieces.

A dictionary ``dict.txt`` beside them gives the order of the tokens; without one they stand as in the vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from ofa_modality_text.dictionary import FILE, is_filler, read_dictionary
from ofa_modality_text.foreign import token_artifact
from ofa_modality_text.reading import read_json, read_merges
from ofa_modality_text.tokenizer import TokenizerError
from ofacore.protocols import Artifact

_VOCABULARIES = ("vocab.json", "encoder.json")
_MERGES = ("merges.txt", "vocab.bpe")
_UNKNOWN = "[UNK]"
_SPECIAL = re.compile(r"\[[A-Za-z]+\d*\]")


def gpt2_artifact(folder: Path) -> Artifact:
    """GPT-2's byte-level BPE (Radford et al. 2019).

    Args:
        folder: Holds ``vocab.json`` or ``encoder.json``, and ``merges.txt`` or ``vocab.bpe``; maybe ``dict.txt``, whose
            tokens are numbers of that vocabulary.

    Raises:
        TokenizerError: A file is missing or damaged, or the dictionary does not belong to the vocabulary.
    """
    path = _one_of(folder, _VOCABULARIES)
    numbers, merges = read_json(path), read_merges(_one_of(folder, _MERGES))
    order = _gpt2_order(folder, numbers, path)
    names = [
        f"<text>_{numbers[token]}" if token in numbers else f"<text>_{token}" for token in order
    ]
    vocabulary = {token: place for place, token in enumerate(order)}
    lost = next((rule for rule in merges if not {*rule, "".join(rule)} <= vocabulary.keys()), None)
    if lost is not None:
        raise TokenizerError(
            f"{folder}: the merge '{' '.join(lost)}' needs tokens that {path.name} does not have"
        )
    missing = sorted(set(pre_tokenizers.ByteLevel.alphabet()) - vocabulary.keys())
    if missing:
        raise TokenizerError(
            f"{path}: lacks {len(missing)} of the 256 bytes, the first is '{missing[0]}'"
        )
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return token_artifact(tokenizer, names, leading_blank=True)


def bert_artifact(path: Path) -> Artifact:
    """BERT's word pieces (Devlin et al. 2019), cased, Chinese letter by letter, as in OFA's Chinese models.

    Args:
        path: ``vocab.txt``, one token a line, or the folder that holds it, maybe with ``dict.txt``.

    Raises:
        TokenizerError: A file is missing, or the dictionary does not belong to the vocabulary.
    """
    file = path / "vocab.txt" if path.is_dir() else path
    order = _bert_order(file.parent / FILE, _bert_tokens(file), file)
    return _word_pieces(order, [f"<text>_{token}" for token in order])


def bert_imported(folder: Path, names: Sequence[str]) -> Artifact:
    """The word pieces that the dictionary of an imported model knows, in its order.

    Args:
        folder: Holds ``vocab.txt``.
        names: The dictionary; pieces are called ``<text>_`` and the piece in OFASys, elsewhere as they are.

    Raises:
        TokenizerError: The file is missing, or shares nothing with the dictionary.
    """
    file = folder / "vocab.txt"
    known = set(_bert_tokens(file))
    found = {
        name.removeprefix("<text>_"): name
        for name in names
        if name.removeprefix("<text>_") in known
    }
    if len(found) <= len([token for token in found if _SPECIAL.fullmatch(token)]):
        raise TokenizerError(
            f"{file}: none of its {len(known)} tokens is in the dictionary of {len(names)} names"
        )
    found.setdefault(_UNKNOWN, "")
    return _word_pieces(list(found), list(found.values()))


def _bert_tokens(file: Path) -> list[str]:
    if not file.is_file():
        raise TokenizerError(f"no file '{file}'; expected BERT's vocab.txt, one token a line")
    tokens = [line.rstrip("\r") for line in file.read_text(encoding="utf-8").split("\n")]
    known = [token for token in dict.fromkeys(tokens) if token]
    if _UNKNOWN not in known:
        raise TokenizerError(
            f"{file}: has no token {_UNKNOWN}; expected BERT's vocab.txt, one token a line"
        )
    return known


def _word_pieces(order: Sequence[str], names: Sequence[str]) -> Artifact:
    vocabulary = {token: place for place, token in enumerate(order)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=_UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return token_artifact(tokenizer, names, leading_blank=False)


def _gpt2_order(folder: Path, numbers: Mapping[str, int], path: Path) -> list[str]:
    """Tokens of the dictionary, in its order; what fills it up is called as it is there."""
    by_number = {str(number): token for token, number in numbers.items()}
    dictionary = folder / FILE
    if not dictionary.is_file():
        return sorted(numbers, key=lambda token: numbers[token])
    entries = read_dictionary(dictionary)
    unknown = [entry for entry in entries if entry not in by_number and not is_filler(entry)]
    if unknown:
        expected = f"none of the numbers of the {len(numbers)} tokens of {path.name}"
        raise TokenizerError(
            f"{dictionary}: {len(unknown)} entries, the first '{unknown[0]}', are {expected}"
        )
    _check_complete(dictionary, list(by_number), entries, path)
    return [by_number.get(entry, entry) for entry in entries]


def _bert_order(dictionary: Path, tokens: list[str], path: Path) -> list[str]:
    """Tokens of the dictionary, in its order; it may lack BERT's own special tokens."""
    if not dictionary.is_file():
        return tokens
    entries = read_dictionary(dictionary)
    _check_complete(
        dictionary, [token for token in tokens if not _SPECIAL.fullmatch(token)], entries, path
    )
    return entries if _UNKNOWN in entries else [*entries, _UNKNOWN]


def _check_complete(
    dictionary: Path, tokens: Sequence[str], entries: Sequence[str], path: Path
) -> None:
    held = set(entries)
    missing = [token for token in tokens if token not in held]
    if missing:
        raise TokenizerError(
            f"{dictionary}: lacks {len(missing)} of the {len(tokens)} tokens of {path.name}, the first is "
            f"'{missing[0]}'; the two belong to different models"
        )


def _one_of(folder: Path, names: Sequence[str]) -> Path:
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        there = (
            ", ".join(sorted(path.name for path in folder.iterdir()))
            if folder.is_dir()
            else "no such folder"
        )
        raise TokenizerError(f"{folder}: no {' or '.join(names)}; found {there or 'nothing'}")
    return found
