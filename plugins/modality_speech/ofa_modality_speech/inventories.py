"""Inventories of phonemes by name, in an order that stays. No library is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping

BOUNDARY = "|"
"""Between two words."""
_VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW"
_CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH"
_INITIALS = "b p m f d t n l g k h j q x zh ch sh r z c s y w"
_FINALS = (
    "a o e i u v ai ei ui ao ou iu ie ve er an en in un vn ang eng ing ong ia iao ian iang iong ua uo uai uan uang "
    "van ue"
)
_TONES = 5
_IPA = "".join(
    (
        "abcdefhijklmnopqrstuvwxyz",
        "\u00e6\u00e7\u00f0\u00f8\u0127\u014b\u0153\u03b2\u03b8\u03c7\u1d7b\u2c71",
        *map(chr, range(0x0250, 0x02B0)),
        "\u02b0\u02b2\u02b7\u02c0\u02c8\u02cc\u02d0\u02d1\u02de\u02e0\u02e4\u207f",
        *map(chr, range(0x0300, 0x0362)),
    )
)
"""The Latin letter g is written as U+0261, which is among those from U+0250 on."""


def _arpabet() -> tuple[str, ...]:
    """39 phonemes of English as CMU writes them; vowels without stress, and with each of three."""
    stressed = [f"{vowel}{stress}" for vowel in _VOWELS.split() for stress in range(3)]
    return (BOUNDARY, *_CONSONANTS.split(), *_VOWELS.split(), *stressed)


def _pinyin() -> tuple[str, ...]:
    """Initials of Mandarin, and finals with each of five tones."""
    toned = [f"{final}{tone}" for final in _FINALS.split() for tone in range(1, _TONES + 1)]
    return (BOUNDARY, *_INITIALS.split(), *toned)


def _ipa() -> tuple[str, ...]:
    """Letters and marks of the International Phonetic Alphabet, each a token of its own."""
    return (BOUNDARY, *dict.fromkeys(_IPA))


INVENTORIES: Mapping[str, Callable[[], tuple[str, ...]]] = {
    "arpabet": _arpabet,
    "ipa": _ipa,
    "pinyin": _pinyin,
}
FITTED = "fitted"
"""In place of an inventory: the phonemes of the training values."""
