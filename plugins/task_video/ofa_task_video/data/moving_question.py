"""Questions about a clip, rows ``video, question, answer``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ofa_starter import Row, Splits
from ofa_task_video.data.columns import only
from ofa_task_video.data.digits import moving_digits


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``video`` (uint8 [8, 32, 32]), ``question`` and ``answer``; ``seed`` has no effect."""
    return only(moving_digits(cache), "video", "question", "answer")


def baseline(splits: Splits) -> list[Row]:
    """The most frequent training answer to the question."""
    pairs = Counter((row["question"], row["answer"]) for row in splits["train"])
    best = {question: answer for (question, answer), _ in reversed(pairs.most_common())}
    return [{"answer": best[row["question"]]} for row in splits["test"]]
