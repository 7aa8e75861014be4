"""Name of an emoji picture in a given language, rows ``img, language, cap``."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from ofa_starter import Row, Splits, pick, prepared
from ofa_task_vision.data.openmoji import EmojiItem, OpenMoji
from ofa_task_vision.data.pictures import emoji_splits

LANGUAGES = {
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "id": "Indonesian",
    "it": "Italian",
    "pt": "Portuguese",
    "tr": "Turkish",
}
TESTED = 2
"""Languages of each test and validation picture."""


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``img`` (uint8 [32, 32, 3]), ``language`` (English name), ``cap``; ``seed`` has no effect."""
    return prepared(
        "emoji_caption_multi", lambda: _rows(cache), sources=OpenMoji(cache).sources, cache=cache
    )


def _rows(cache: Path | None) -> Splits:
    return {split: _spread(rows, split) for split, rows in emoji_splits(_row, cache).items()}


def _row(item: EmojiItem) -> Row:
    return {
        "names": {
            language: item.names[code] for code, language in LANGUAGES.items() if code in item.names
        }
    }


def _spread(rows: list[Row], split: str) -> list[Row]:
    """One row for each language in training, for two languages elsewhere."""
    spread = []
    for row in rows:
        names = row["names"]
        languages = sorted(names)
        if split != "train":
            languages = pick(
                languages, [f"{names['English']}/{language}" for language in languages], TESTED
            )
        spread += [
            {"img": row["img"], "language": language, "cap": names[language]}
            for language in languages
        ]
    return spread


def baseline(splits: Splits) -> list[Row]:
    """The five most frequent words of the training names in that language."""
    words: dict[str, Counter[str]] = defaultdict(Counter)
    for row in splits["train"]:
        words[row["language"]].update(row["cap"].split())
    usual = {}
    for language, counts in words.items():
        usual[language] = " ".join(word for word, _ in counts.most_common(5))
    return [{"cap": usual[row["language"]]} for row in splits["test"]]
