"""Grids of numbers: checked, cut into patches, and put together again."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ofacore.ground.excerpts import excerpt
from ofacore.protocols import RowError

_LARGEST = float(np.finfo(np.float32).max)


def checked_grid(value: Any, shape: Sequence[int | None]) -> np.ndarray:
    """A value as float64 of the wanted shape, every number finite in fp32.

    Raises:
        RowError: It is no such grid; says which number or axis is wrong.
    """
    plain = _plain(value)
    try:
        array = np.asarray(plain)
    except (TypeError, ValueError):
        raise RowError(_ragged(plain) or f"{excerpt(value)} is no grid of numbers") from None
    if array.dtype.kind not in "biuf" and (reason := _ragged(plain) or _foreign(array)):
        raise RowError(reason)
    _check_shape(array.shape, shape)
    numbers = array.astype(np.float64)
    bad = ~(np.abs(numbers) <= _LARGEST)
    if bad.any():
        place = np.unravel_index(int(bad.argmax()), bad.shape)
        found = float(numbers[place])
        reason = (
            "is larger than 32 bits can hold" if math.isfinite(found) else "is no finite number"
        )
        raise RowError(f"{found:g} at {_place(place)} {reason}")
    return numbers


def patch_counts(shape: Sequence[int], patch: Sequence[int]) -> tuple[int, ...]:
    """Patches along each axis, those at the border counted."""
    return tuple(-(-size // step) for size, step in zip(shape, patch, strict=True))


def to_patches(grid: np.ndarray, patch: Sequence[int]) -> np.ndarray:
    """``[patches, numbers of a patch]``, in the order of the grid; borders are padded with zeros."""
    counts = patch_counts(grid.shape, patch)
    pairs = list(zip(counts, patch, strict=True))
    missing = [
        (0, count * step - size) for (count, step), size in zip(pairs, grid.shape, strict=True)
    ]
    split = np.pad(grid, missing).reshape([size for pair in pairs for size in pair])
    rank = len(pairs)
    order = [*range(0, 2 * rank, 2), *range(1, 2 * rank, 2)]
    return split.transpose(order).reshape(math.prod(counts), math.prod(patch))


def from_patches(patches: np.ndarray, shape: Sequence[int], patch: Sequence[int]) -> np.ndarray:
    """The grid of a shape that `to_patches` cut."""
    counts, rank = patch_counts(shape, patch), len(shape)
    order = [axis for pair in zip(range(rank), range(rank, 2 * rank), strict=True) for axis in pair]
    whole = patches.reshape(*counts, *patch).transpose(order)
    padded = whole.reshape([count * step for count, step in zip(counts, patch, strict=True)])
    return padded[tuple(slice(size) for size in shape)]


def written_shape(shape: Sequence[int | None]) -> str:
    """``4 x 6``; an axis of any length is ``any``."""
    return " x ".join("any" if size is None else str(size) for size in shape)


def _plain(value: Any) -> Any:
    """Text is JSON; arrays of arrays, as tables store nested lists, become lists."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise RowError(f"{excerpt(value)} is no grid of numbers, nor JSON of one") from None
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        raise RowError("some of its numbers are masked; fill them, or leave the row out")
    return _lists(value) if getattr(getattr(value, "dtype", None), "kind", "") == "O" else value


def _lists(value: Any) -> Any:
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim):
        return [_lists(part) for part in value]
    return value


def _check_shape(found: tuple[int, ...], wanted: Sequence[int | None]) -> None:
    if len(found) != len(wanted):
        axes = "1 axis" if len(found) == 1 else f"{len(found)} axes"
        raise RowError(
            f"it has {axes}, not the {len(wanted)} of a grid of {written_shape(wanted)} numbers"
        )
    if 0 in found or any(size not in (None, own) for own, size in zip(found, wanted, strict=True)):
        raise RowError(
            f"it is a grid of {written_shape(found)} numbers, not of {written_shape(wanted)}"
        )


def _ragged(value: Any, place: tuple[int, ...] = ()) -> str:
    """The first list that is longer or shorter than its sister; empty where all agree."""
    if not _is_list(value):
        return ""
    lengths = [len(part) if _is_list(part) else None for part in value]
    for number, length in enumerate(lengths):
        if length != lengths[0]:
            kinds = [_kind(count) for count in (length, lengths[0])]
            return f"it is ragged: {_place((*place, number))} is {kinds[0]}, {_place((*place, 0))} is {kinds[1]}"
    return next(filter(None, (_ragged(part, (*place, i)) for i, part in enumerate(value))), "")


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _kind(length: int | None) -> str:
    return "no list" if length is None else f"a list of {length}"


def _foreign(array: np.ndarray) -> str:
    """The first entry that is no real number; empty where all are, such as integers beyond 64 bits."""
    if array.ndim == 0:
        return f"{excerpt(array.item())} is no grid of numbers"
    for place, found in np.ndenumerate(array):
        if not isinstance(found, int | float | np.integer | np.floating | np.bool_):
            return f"{excerpt(_own(found))} at {_place(place)} is no number"
        if isinstance(found, int) and abs(found) > _LARGEST:
            return f"{excerpt(found)} at {_place(place)} is larger than 32 bits can hold"
    return ""


def _own(found: Any) -> Any:
    """A text or complex number of numpy as Python's, to be shown."""
    return found.item() if isinstance(found, np.generic) else found


def _place(indices: Sequence[Any]) -> str:
    return f"[{', '.join(str(int(index)) for index in indices)}]"
