"""Words that synthetic voices speak, rows ``wav, word, voice``; voices of the test are held out.

The sounds are made here, by eSpeak NG: no person speaks. A score on them says nothing about real speech.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ofa_starter import Row, Split, Splits, empty_splits, majority, prepared, split_of
from ofa_task_speech.data.espeak import ESPEAKNG, Speaker

RATE = 22_050
WORDS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "yes",
    "no",
    "up",
    "down",
    "left",
    "right",
    "on",
    "off",
    "stop",
    "go",
)
ACCENTS = ("en-us", "en-gb-x-rp", "en-gb-scotland")
VARIANTS: Mapping[Split, tuple[str, ...]] = {
    "train": ("m1", "m2", "m3", "m4", "f1", "f2", "f4", "klatt2"),
    "valid": ("m5",),
    "test": ("m7", "f5"),
}
TEMPI: Mapping[Split, tuple[int, ...]] = {
    "train": (140, 175, 220),
    "valid": (160,),
    "test": (150, 200),
}
"""Words a minute."""
SOURCE = ESPEAKNG


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``wav`` (array and rate), ``word`` and ``voice``; ``seed`` has no effect."""
    splits = prepared("spoken_words", lambda: _rows(cache), sources=(SOURCE,), cache=cache)
    return with_rate(splits)


def with_rate(splits: Splits) -> Splits:
    """Sounds that are arrays, with the rate of the voices."""
    found: Splits = {}
    for split, rows in splits.items():
        found[split] = [
            {**row, "wav": {"array": row["wav"], "sampling_rate": RATE}} for row in rows
        ]
    return found


def pair_split(word: str, voice: str) -> Split:
    """Where a voice of the training says a word: one that is to be spoken in a test is not heard in training either."""
    return split_of(f"said/{word}/{voice}")


def baseline(splits: Splits) -> list[Row]:
    """The most frequent word; all are equally frequent."""
    return majority(splits, "word")


def _rows(cache: Path | None) -> Splits:
    speaker, splits = Speaker(cache), empty_splits()
    for split, voice, tempo in _voices():
        for word in WORDS:
            if split == "train" and pair_split(word, voice) != "train":
                continue
            sound = speaker.say(word, voice, tempo)
            splits[split].append({"wav": sound, "word": word, "voice": voice})
    return splits


def _voices() -> Iterator[tuple[Split, str, int]]:
    """Split, name of a voice, and tempo."""
    for split, variants in VARIANTS.items():
        for variant in variants:
            for accent in ACCENTS:
                for tempo in TEMPI[split]:
                    yield split, f"{accent}+{variant}", tempo
