"""Samples as lines of plain text, for a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import unescape

from ofacore.evaluation.report import Sample

_PICTURE = re.compile(r"<(img|svg|figure).*?(/?>|</svg>|</figure>)", re.DOTALL)
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
    """Text of an HTML fragment; pictures are named."""
    text = _TAG.sub(" ", _PICTURE.sub(" (picture) ", html))
    text = " ".join(unescape(text).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
