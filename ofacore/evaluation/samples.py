"""Samples as lines of plain text, for a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import unescape

from ofacore.evaluation.report import Sample

_CAPTIONED = re.compile(r"<figure>.*?<figcaption>(.*?)</figcaption></figure>", re.DOTALL)
_NAMED = re.compile(r'<img[^>]*\balt="([^"]*)"[^>]*>')
_PICTURE = re.compile(r"<img[^>]*>|<svg.*?</svg>", re.DOTALL)
_SOUND = re.compile(r"<audio[^>]*>")
_TAG = re.compile(r"<[^>]+>")
_LONGEST = 100


def plain_samples(samples: Sequence[Sample]) -> Iterator[str]:
    """The instruction once, then two lines a sample: what went in, what came out and what was expected."""
    if samples:
        yield f"\n{samples[0].task}: {samples[0].instruction}"
    for sample in samples:
        yield f"  in   {_text(sample.inputs)}"
        yield f"  out  {_text(sample.answer)}   (reference: {_text(sample.reference)})"


def _text(html: str) -> str:
    """Text of an HTML fragment: sounds and pictures by what they are, those with a caption by that."""
    text = _NAMED.sub(r" (\1) ", _CAPTIONED.sub(r" \1 ", html))
    text = _SOUND.sub(" (sound) ", _PICTURE.sub(" (picture) ", text))
    text = _TAG.sub(" ", text)
    text = " ".join(unescape(text).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
