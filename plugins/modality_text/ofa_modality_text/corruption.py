"""Corrupted copies of token sequences for training: masked spans in the source, noise in what the decoder reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def mask_spans(
    ids: np.ndarray,
    ratio: float,
    rng: np.random.Generator,
    *,
    mask: int,
    poisson_lambda: float = 3.0,
    replace_length: int = -1,
    random_ratio: float = 0.0,
    random_range: range = range(0),
) -> np.ndarray:
    """Text infilling as in BART (Lewis et al. 2020): spans of Poisson distributed length give way to mask tokens.

    The number of masked tokens is ``ratio * n``, rounded up or down at random so that its mean is exact. A span of
    length 0 inserts one mask token.

    Args:
        ids: int64 [n].
        mask: Id of the mask token.
        replace_length: What a span becomes: -1 for as many masks as it had tokens, 1 for a single mask, 0 for nothing.
        random_ratio: Share of the masks that become a random token of ``random_range`` instead.

    Returns:
        int64 [m].
    """
    masked = int(len(ids) * ratio + rng.random())
    if masked == 0:
        return ids
    lengths = _span_lengths(masked, poisson_lambda, rng)
    gaps = sorted(rng.integers(0, len(ids) - masked + 1, size=len(lengths)).tolist())
    result = _replaced(ids.tolist(), gaps, lengths, mask, replace_length)
    if not random_ratio:
        return result
    random = (result == mask) & (rng.random(len(result)) < random_ratio)
    result[random] = rng.integers(random_range.start, random_range.stop, size=int(random.sum()))
    return result


def replace_random(
    ids: np.ndarray, ratio: float, rng: np.random.Generator, random_range: range
) -> np.ndarray:
    """A copy of ``ids`` int64 [n] in which each is, with probability ``ratio``, a random one of ``random_range``."""
    noise = rng.integers(random_range.start, random_range.stop, size=len(ids))
    return np.where(rng.random(len(ids)) < ratio, noise, ids)


def _span_lengths(total: int, poisson_lambda: float, rng: np.random.Generator) -> list[int]:
    """Poisson lengths whose sum is ``total``; the last one is cut, then they are shuffled."""
    lengths: list[int] = []
    left = total
    while left > 0:
        for length in rng.poisson(poisson_lambda, size=8).tolist():
            lengths.append(min(length, left))
            left -= lengths[-1]
            if left == 0:
                break
    rng.shuffle(lengths)
    return lengths


def _replaced(
    ids: Sequence[int], gaps: Sequence[int], lengths: Sequence[int], mask: int, replace_length: int
) -> np.ndarray:
    """Masks for the spans of ``lengths``, each standing behind as many kept tokens as its gap says."""
    result: list[int] = []
    read = before = 0
    for gap, length in zip(gaps, lengths, strict=True):
        start = read + gap - before
        result += ids[read:start]
        result += [mask] * (max(length, 1) if replace_length < 0 else replace_length)
        read, before = start + length, gap
    return np.array([*result, *ids[read:]], dtype=np.int64)
