"""The same synthetic words to be spoken, rows ``word, voice, wav``; held-out pairs of a word and a voice.

Every word and every voice of the test is heard in training, but not together.
"""

from __future__ import annotations

from pathlib import Path

from ofa_starter import Row, Splits, empty_splits, prepared
from ofa_task_speech.data.espeak import ESPEAKNG, Speaker
from ofa_task_speech.data.spoken_words import ACCENTS, VARIANTS, WORDS, pair_split, with_rate

TEMPO = 175
"""Words a minute."""
SOURCE = ESPEAKNG


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``word``, ``voice`` and ``wav`` (array and rate); ``seed`` has no effect."""
    splits = prepared("said_words", lambda: _rows(cache), sources=(SOURCE,), cache=cache)
    return with_rate(splits)


def baseline(splits: Splits) -> list[Row]:
    """One sound for all: the first of training."""
    first = splits["train"][0]["wav"]
    return [{"wav": first} for _ in splits["test"]]


def _rows(cache: Path | None) -> Splits:
    speaker, splits = Speaker(cache), empty_splits()
    for variant in VARIANTS["train"]:
        for accent in ACCENTS:
            voice = f"{accent}+{variant}"
            for word in WORDS:
                row = {"word": word, "voice": voice, "wav": speaker.say(word, voice, TEMPO)}
                splits[pair_split(word, voice)].append(row)
    return splits
