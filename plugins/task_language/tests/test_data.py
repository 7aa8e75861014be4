"""The data of this family: values, baselines, and that no text is on two sides."""

from __future__ import annotations

import importlib

import pytest

from ofa_starter import is_fetched, text_id
from ofa_task_language.data import g2p, infilling, spelling
from ofa_task_language.data.emoji_names import EmojiNames
from ofa_task_language.data.g2p import CMUDICT
from ofa_task_language.data.reviews import VADER
from ofa_task_language.data.spelling import CODESPELL
from ofa_task_language.data.translate_en_fr import DJANGO, PYCOUNTRY

SOURCES = {
    "tweet_sentiment": (VADER, "text"),
    "movie_sentiment": (VADER, "text"),
    "infilling": (VADER, "text"),
    "g2p": (CMUDICT, "word"),
    "spelling": (CODESPELL, "right"),
    "translate_en_fr": (PYCOUNTRY, "en"),
}
READY = all(map(is_fetched, (VADER, CMUDICT, CODESPELL, PYCOUNTRY, DJANGO, *EmojiNames.sources)))


def test_the_letter_map_learns_from_words_as_long_as_their_sounds():
    train = [{"word": "ab", "phones": "AH B"}, {"word": "abc", "phones": "X"}]
    assert g2p.baseline({"train": train, "test": [{"word": "bax"}]}) == [{"phones": "B AH"}]


def test_copying_is_the_baseline_of_spelling():
    assert spelling.baseline({"train": [], "test": [{"wrong": "teh", "right": "the"}]}) == [
        {"right": "teh"}
    ]


@pytest.mark.data
@pytest.mark.skipif(not READY, reason="run: ofa data fetch --all")
@pytest.mark.parametrize("name", SOURCES)
def test_rows_are_texts_and_splits_share_none(name):
    module = importlib.import_module(f"ofa_task_language.data.{name}")
    column = SOURCES[name][1]
    splits = module.build()
    ids = {split: {text_id(row[column]) for row in rows} for split, rows in splits.items()}
    assert (
        len(splits["test"]) >= 300
        and not ids["train"] & ids["test"]
        and not ids["train"] & ids["valid"]
    )
    assert all(
        value.strip() for row in splits["test"] for value in row.values() if isinstance(value, str)
    )
    assert len(module.baseline(splits)) == len(splits["test"])


@pytest.mark.data
@pytest.mark.skipif(not READY, reason="run: ofa data fetch --all")
def test_gaps_leave_the_other_words_in_place():
    for row in infilling.build()["test"]:
        kept = [word for word in row["gapped"].split() if word != "_"]
        rest = iter(row["text"].split())
        assert all(word in rest for word in kept) and "_" in row["gapped"]
