"""Tweets and movie review snippets with the mean sentiment of twenty raters each (VADER, Hutto and Gilbert 2014)."""

from __future__ import annotations

import html
import tarfile
from pathlib import Path

from ofa_starter import PackageSource, Splits, empty_splits, fetch, text_id
from ofa_task_language.data.emoji_names import EmojiNames

VADER = PackageSource(
    "vaderSentiment",
    "0.5",
    "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a",
    ("*/additional_resources/hutto_ICWSM_2014.tar.gz",),
    kind="sdist",
    licence="MIT",
)
LABELS = ("negative", "positive")
NEUTRAL = 0.5
"""Texts whose mean score (-4 to 4) is nearer to zero carry no label."""


def texts(name: str, cache: Path | None = None) -> list[tuple[float, str]]:
    """Pairs (mean score, text) of ``tweets`` or ``movieReviewSnippets``; repeated texts once."""
    archive = next(fetch(VADER, cache).rglob("hutto_ICWSM_2014.tar.gz"))
    with tarfile.open(archive) as tar:
        file = tar.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
        if file is None:
            raise FileNotFoundError(f"{name}_GroundTruth.txt in {archive}")
        lines = file.read().decode("latin-1").splitlines()
    found: dict[str, tuple[float, str]] = {}
    for line in lines:
        _, score, text = line.split("\t", 2)
        text = " ".join(html.unescape(text).split())
        found.setdefault(text_id(text), (float(score), text))
    return list(found.values())


def sentiment(name: str, cache: Path | None = None) -> Splits:
    """Rows ``text, label, score`` of the texts that are clearly negative or positive."""
    splits, split_of = empty_splits(), EmojiNames(cache).text_split
    for score, text in texts(name, cache):
        if abs(score) >= NEUTRAL:
            row = {"text": text, "label": LABELS[score > 0], "score": score}
            splits[split_of(text)].append(row)
    return splits
