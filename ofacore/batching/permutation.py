"""Pseudo-random permutations that need no memory, and generators keyed by names and numbers.

The permutation is a four-round Feistel network over the smallest even number of bits that holds ``n``; a result
outside of ``[0, n)`` is permuted again ("cycle walking"; Black and Rogaway, "Ciphers with arbitrary finite domains").
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
from numpy.random.bit_generator import ISeedSequence

_ROUNDS = 4
_MASK = (1 << 64) - 1


def stable_key(*parts: str | int) -> int:
    """64-bit number from names and numbers, equal in every process and on every machine."""
    return int.from_bytes(hashlib.blake2b(_spelled(parts), digest_size=8).digest(), "little")


def _spelled(parts: tuple[str | int, ...]) -> bytes:
    return "\0".join(
        [f"'{part}" if isinstance(part, str) else f"{part}" for part in parts]
    ).encode()


class Permutation:
    """A permutation of ``range(n)`` chosen by a key: O(1) memory, any element at once."""

    def __init__(self, n: int, key: int) -> None:
        if n < 1:
            raise ValueError(f"a permutation needs at least one element, not {n}")
        self._n = n
        self._half = max(1, ((n - 1).bit_length() + 1) // 2)
        self._keys = [
            _mix(key + round_number * 0x9E3779B97F4A7C15) for round_number in range(1, _ROUNDS + 1)
        ]

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self._n:
            raise IndexError(index)
        while True:
            index = self._cipher(index)
            if index < self._n:
                return index

    def _cipher(self, value: int) -> int:
        mask = (1 << self._half) - 1
        left, right = value >> self._half, value & mask
        for key in self._keys:
            left, right = right, left ^ (_mix(right ^ key) & mask)
        return left << self._half | right


def _mix(value: int) -> int:
    """The finaliser of SplitMix64 (Steele et al., "Fast splittable pseudorandom number generators")."""
    value &= _MASK
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _MASK
    return value ^ value >> 31


class _Digest(ISeedSequence):
    """Seeds a bit generator with a hash of names and numbers."""

    def __init__(self, *parts: str | int) -> None:
        self._text = _spelled(parts)

    def generate_state(self, n_words: int, dtype: npt.DTypeLike = np.uint32) -> np.ndarray:
        size = n_words * np.dtype(dtype).itemsize
        return np.frombuffer(hashlib.blake2b(self._text, digest_size=size).digest(), dtype)


def item_rng(seed: int, task: str, epoch: int, index: int, attempt: int = 0) -> np.random.Generator:
    """The generator of one sample: a pure function of its arguments."""
    key = _Digest("item", seed, task, epoch, index, attempt)
    return np.random.Generator(np.random.PCG64(key))  # type: ignore[arg-type]
