"""The data that come with the presets: splits, voices, numbers."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_starter import is_fetched
from ofa_task_speech.data import said_words, spoken_words, vowels
from ofa_task_speech.data.espeak import ESPEAKNG, Speaker
from ofa_task_speech.manifest import MANIFEST
from ofacore.plugin import UserError

COLUMNS = {preset.name: set(preset.columns) for preset in MANIFEST.presets if preset.data}
speaking = pytest.mark.skipif(not is_fetched(ESPEAKNG), reason="run: ofa data fetch --all")
fetched = pytest.mark.skipif(not is_fetched(vowels.AEON), reason="run: ofa data fetch --all")


@pytest.mark.data
@speaking
def test_voices_of_the_test_are_unheard():
    splits = spoken_words.build()
    voices = {split: {row["voice"] for row in rows} for split, rows in splits.items()}
    assert not voices["train"] & voices["test"] and not voices["train"] & voices["valid"]
    counts = {split: len(rows) for split, rows in splits.items()}
    assert counts["train"] > 1000 and (counts["valid"], counts["test"]) == (60, 240)
    for rows in splits.values():
        assert {row["word"] for row in rows} == set(spoken_words.WORDS)
        assert all(COLUMNS["spoken_words"] <= set(row) for row in rows)


@pytest.mark.data
@speaking
def test_words_sound_like_words():
    rows = spoken_words.build()["test"]
    seconds = [len(row["wav"]["array"]) / row["wav"]["sampling_rate"] for row in rows]
    assert min(seconds) > 0.15 and max(seconds) < 1.5
    assert all(np.abs(row["wav"]["array"]).max() > 2000 for row in rows)


@pytest.mark.data
@speaking
def test_a_voice_says_every_word_in_its_tempo():
    speaker = Speaker()
    fast, slow = (speaker.say("seven", "en-us+f3", tempo) for tempo in (250, 120))
    assert speaker.rate == spoken_words.RATE and len(slow) > 1.4 * len(fast)
    assert len(speaker.say("seven", "en-us+f3", 120)) == len(slow)
    with pytest.raises(UserError, match="no voice 'xx-none'"):
        speaker.say("seven", "xx-none")


@pytest.mark.data
@speaking
def test_pairs_to_be_spoken_are_unheard_but_their_words_and_voices_are_not():
    splits = said_words.build()
    pairs = {s: {(r["word"], r["voice"]) for r in rows} for s, rows in splits.items()}
    assert sum(map(len, pairs.values())) == 480 and len(pairs["test"]) > 30
    assert not pairs["train"] & pairs["test"] and not pairs["train"] & pairs["valid"]
    heard = {(row["word"], row["voice"]) for row in spoken_words.build()["train"]}
    assert heard == pairs["train"]
    for place in (0, 1):
        known = {pair[place] for pair in pairs["train"]}
        assert {pair[place] for pair in pairs["test"]} <= known


@pytest.mark.data
@fetched
def test_speakers_are_those_of_the_official_split():
    splits = vowels.build()
    assert {split: len(rows) for split, rows in splits.items()} == {
        "train": 225,
        "valid": 45,
        "test": 370,
    }
    for rows in splits.values():
        assert {row["speaker"] for row in rows} == set(vowels.SPEAKERS)
        assert {row["feat"].shape[1] for row in rows} == {12}
        assert all(7 <= len(row["feat"]) <= 29 for row in rows)
    guessed = vowels.baseline(splits)
    right = [a["speaker"] == b["speaker"] for a, b in zip(guessed, splits["test"], strict=True)]
    assert np.mean(right) < 0.25


def test_series_are_read_line_by_line(tmp_path):
    path = tmp_path / "a.ts"
    path.write_text("@problemName x\n@data\n1,2,3:4,5,6:2\n")
    (row,) = vowels.read(path)
    assert row["feat"].tolist() == [[1, 4], [2, 5], [3, 6]] and row["speaker"] == "two"
