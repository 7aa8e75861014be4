"""Tokenizers of imported models: which tokens of a foreign dictionary are text, and how text becomes them.

A dictionary of a model may hold tokens of other modalities and core tokens too; text gets those that the BPE can make,
and every other name that is not written in angle brackets. The artifact keeps, next to the tokenizer, the name of each
token in the dictionary, so that rows are found by name for ever.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from ofa_modality_text.dictionary import is_filler
from ofa_modality_text.general import general_tokenizer, is_plain_bpe, read_content
from ofa_modality_text.reading import read_json, read_merges
from ofa_modality_text.tokenizer import TokenizerError
from ofacore.protocols import Artifact

TOKENIZER, ORIGIN = "tokenizer.json", "origin.json"
_BRACKETS = re.compile(r"<[^<>]*>(_\S*)?")
_SQUARE = re.compile(r"\[[A-Za-z]+\d*\]")
_NUMBERED = re.compile(r"<text>_(\d+)")
_PAIRS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))


def import_tokenizer(folder: Path, names: Sequence[str]) -> Artifact:
    """The tokenizer of a foreign model.

    Args:
        folder: Holds ``vocab.json`` and ``merges.txt``, or ``encoder.json`` and ``vocab.bpe``, or ``tokenizer.json``,
            which is used as it is if it is more than a BPE over bytes.
        names: The model's dictionary. Names such as ``<text>_464`` are numbers of GPT-2's BPE, as OFASys writes them,
            or ``464``, as OFA does; without the BPE's files such a model can be given token ids, or these names
            separated by blanks.

    Raises:
        TokenizerError: The files do not belong to the dictionary, or are damaged, or not there.
    """
    numbered = _numbered(names)
    content = read_content(folder) if (folder / "tokenizer.json").is_file() else None
    if content is not None and not is_plain_bpe(content):
        tokenizer, found_names, core = general_tokenizer(folder, content, names, numbered)
        return token_artifact(tokenizer, found_names, leading_blank=False, core=core)
    found = _files(folder, content)
    if found is None and numbered:
        return _by_name([numbered[number] for number in sorted(numbered)])
    if found is None:
        there = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        expected = "vocab.json and merges.txt, encoder.json and vocab.bpe, or tokenizer.json"
        raise TokenizerError(f"{folder}: no tokenizer: found {there}; expected {expected}")
    vocabulary, merges = found
    if numbered:
        known = {row: token for token, row in vocabulary.items()}
        missing = [number for number in numbered if number not in known]
        if missing:
            lost = numbered[missing[0]]
            raise TokenizerError(
                f"{folder}: the BPE has {len(known)} tokens, none for '{lost}' of the dictionary"
            )
        tokens = {known[number]: numbered[number] for number in sorted(numbered)}
        return _bpe(tokens, merges, leading_blank=True)
    made = {first + second for first, second in merges} | set(pre_tokenizers.ByteLevel.alphabet())
    text = [
        name
        for name in names
        if name and (name in made or not (_BRACKETS.fullmatch(name) or is_filler(name)))
    ]
    return _bpe({name: name for name in text}, merges, leading_blank=False)


def _numbered(names: Sequence[str]) -> dict[int, str]:
    """Number of GPT-2's BPE -> name; bare numbers count where a dictionary has no other words, as OFA writes them."""
    found = {int(match[1]): name for name in names if (match := _NUMBERED.fullmatch(name))}
    words = [
        name for name in names if name and not _BRACKETS.fullmatch(name) and not is_filler(name)
    ]
    bare = bool(words) and not found and all(word.isascii() and word.isdigit() for word in words)
    return {int(word): word for word in words} if bare else found


def origin(artifact: Artifact | None) -> Mapping[str, Any]:
    """What is known of an imported tokenizer; empty for one that was made here."""
    if artifact is None or ORIGIN not in artifact.files:
        return {}
    found: Mapping[str, Any] = json.loads(artifact.files[ORIGIN])
    return found


def foreign_names(artifact: Artifact | None, size: int) -> list[tuple[str, ...]]:
    """Names of each token in the dictionary that it was imported from."""
    names = origin(artifact).get("names", [])
    return [(name,) for name in names] + [()] * (size - len(names))


def _files(
    folder: Path, content: Mapping[str, Any] | None
) -> tuple[dict[str, int], list[tuple[str, str]]] | None:
    """(token -> number, merges) of the first kind of files that is there; ``content`` is that of ``tokenizer.json``.

    Raises:
        TokenizerError: The two do not belong together.
    """
    for words, rules in _PAIRS:
        if (folder / words).is_file() and (folder / rules).is_file():
            vocabulary, merges = read_json(folder / words), read_merges(folder / rules)
            _check_together(vocabulary, merges, folder / words, folder / rules)
            return vocabulary, merges
    if content is None:
        return None
    model, file = content["model"], folder / "tokenizer.json"
    pairs = [
        tuple(rule.split(" ")) if isinstance(rule, str) else tuple(rule)
        for rule in model.get("merges", ())
    ]
    merges = [(first, second) for first, second in pairs]
    _check_together(model["vocab"], merges, file, file)
    return dict(model["vocab"]), merges


def _check_together(
    vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]], words: Path, rules: Path
) -> None:
    """Every merge is of tokens that are there, and most tokens of several letters are made by one.

    Raises:
        TokenizerError: It is not so.
    """
    alien = [rule for rule in merges if not {*rule, "".join(rule)} <= vocabulary.keys()]
    if alien:
        what = f"{len(alien)} of its {len(merges)} merges are of tokens that {words.name} does not have"
        first = f"the first is '{' '.join(alien[0])}'"
        raise TokenizerError(f"{rules}: {what}, {first}; expected the file that belongs to it")
    made = {"".join(rule) for rule in merges}
    long = [token for token in vocabulary if len(token) > 1 and not _is_special(token)]
    lost = [token for token in long if token not in made]
    if len(lost) > len(long) - len(lost):
        what = f"its {len(merges)} merges make {len(long) - len(lost)} of the {len(long)} longer tokens of {words.name}"
        raise TokenizerError(
            f"{rules}: {what}, and not '{lost[0]}'; expected lines of two tokens such as '\u0120 t'"
        )


def _is_special(token: str) -> bool:
    """Whether a token is no text, so that no merge need make it."""
    return bool(_BRACKETS.fullmatch(token) or _SQUARE.fullmatch(token) or is_filler(token))


def _bpe(
    tokens: Mapping[str, str], merges: Sequence[tuple[str, str]], leading_blank: bool
) -> Artifact:
    """A byte-level BPE over some tokens: token -> name in the dictionary, in the order of our ids.

    Raises:
        TokenizerError: There are none.
    """
    if not tokens:
        raise TokenizerError("the dictionary has no tokens of text")
    vocabulary = {token: number for number, token in enumerate(tokens)}
    usable = [rule for rule in merges if {*rule, "".join(rule)} <= vocabulary.keys()]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=usable))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return token_artifact(tokenizer, list(tokens.values()), leading_blank, strips=leading_blank)


def _by_name(names: Sequence[str]) -> Artifact:
    tokenizer = Tokenizer(
        models.WordLevel({name: number for number, name in enumerate(names)}, unk_token=names[0])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return token_artifact(tokenizer, names, leading_blank=False)


def token_artifact(
    tokenizer: Tokenizer,
    names: Sequence[str],
    leading_blank: bool,
    core: Mapping[str, int] | None = None,
    strips: bool = False,
    rows: int = 0,
) -> Artifact:
    """A tokenizer with the names of its tokens in the dictionary of the model that it belongs to.

    Args:
        tokenizer: It.
        names: Of each of its tokens.
        leading_blank: It is given texts behind a blank, word by word.
        core: Token -> core token of the model that stands for it.
        strips: Blanks at both ends of a text are taken away, as the original does.
        rows: Tokens of the block, where the model has more than the tokenizer.
    """
    kept: dict[str, Any] = {
        "names": list(names),
        "leading_blank": leading_blank,
        **({"core": core} if core else {}),
    }
    kept |= {"strips": True} if strips else {}
    kept |= {"rows": rows} if rows else {}
    return Artifact(
        {
            TOKENIZER: tokenizer.to_str().encode(),
            ORIGIN: json.dumps(kept, ensure_ascii=False, sort_keys=True).encode(),
        }
    )
