"""Transforms of raw columns as the data sets of this family are published: captions, answers with confidences."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ofacore.plugin import Component, Option


def caption_text(value: str, words: int = 30) -> str:
    """A caption as captioning models learn it: lower case, ``,.!?*#:;~`` removed, ``-`` and ``/`` to blanks, cut."""
    text = (
        re.sub(r"[,.!?*#:;~]", "", value.lower())
        .replace("-", " ")
        .replace("/", " ")
        .replace("<person>", "person")
    )
    return " ".join(text.split()[:words])


def vqa_answers(value: str | Mapping[str, float]) -> dict[str, float]:
    """Answers with confidences, ``1.0|!+yes&&0.3|!+no``, become ``{"yes": 1.0, "no": 0.3}``."""
    if not isinstance(value, str):
        return dict(value)
    pairs = (part.split("|!+", 1) for part in value.split("&&"))
    return {answer.strip(): float(confidence) for confidence, answer in pairs}


def vqa_best_answer(value: str | Mapping[str, float]) -> str:
    """The answer with the highest confidence of ``1.0|!+yes&&0.3|!+no``; a plain answer stays as it is."""
    if isinstance(value, str) and "|!+" not in value:
        return value
    answers = vqa_answers(value)
    return max(answers, key=lambda answer: answers[answer])


def _transform(name: str, doc: str, **options: Option) -> Component:
    return Component("transform", name, f"{__name__}:{name}", doc, options=options)


TRANSFORMS: tuple[Component, ...] = (
    _transform(
        "caption_text",
        "caption clean-up: lower case, no punctuation, cut",
        words=Option(30, "Most words kept.", minimum=0),
    ),
    _transform("vqa_answers", "`1.0|!+yes&&0.3|!+no` becomes answers with confidences"),
    _transform("vqa_best_answer", "`1.0|!+yes&&0.3|!+no` becomes `yes`"),
)
"""For the manifest of this package."""
