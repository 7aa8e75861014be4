"""How far apart two values are, said in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def difference(given: Any, found: Any, tolerance: float = 0.0, place: str = "the value") -> str:
    """What tells ``found`` from ``given``, or an empty text where numbers differ by no more than ``tolerance``.

    Numbers, texts, arrays, tensors, pictures, sequences, mappings and dataclasses are compared part by part; None
    equals None; anything else by ``==``.
    """
    if given is found:
        return ""
    if isinstance(given, Mapping) and isinstance(found, Mapping):
        return _mappings(given, found, tolerance, place)
    if isinstance(given, str | bytes | None) or isinstance(found, str | bytes | None):
        return "" if given == found else f"{place} was {given!r:.80} and is {found!r:.80}"
    if is_dataclass(given) and type(given) is type(found):
        return _mappings(_by_name(given), _by_name(found), tolerance, place)
    numbers, others = _array(given), _array(found)
    if numbers is not None and others is not None:
        return _arrays(numbers, others, tolerance, place)
    if isinstance(given, list | tuple) and isinstance(found, list | tuple):
        return _sequences(given, found, tolerance, place)
    return "" if given == found else f"{place} was {given!r:.80} and is {found!r:.80}"


def _by_name(instance: Any) -> dict[str, Any]:
    """Fields of a dataclass's instance."""
    return {field.name: getattr(instance, field.name) for field in fields(instance)}


def _array(value: Any) -> np.ndarray | None:
    """Numbers as an array; None where it is something else."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().float()
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):
        return None
    return array if array.dtype.kind in "biufc" else None


def _arrays(ours: np.ndarray, theirs: np.ndarray, tolerance: float, place: str) -> str:
    if ours.shape != theirs.shape:
        return f"{place} had shape {ours.shape} and has {theirs.shape}"
    if ours.size == 0:
        return ""
    with np.errstate(invalid="ignore"):
        apart = np.abs(ours.astype(np.complex128) - theirs.astype(np.complex128))
    nothing = np.isnan(ours) & np.isnan(theirs)
    apart = np.where((ours == theirs) | nothing, 0.0, apart)
    worst = np.unravel_index(int(np.argmax(np.nan_to_num(apart, nan=np.inf))), apart.shape)
    if apart[worst] <= tolerance:
        return ""
    where = f"{place}[{', '.join(map(str, map(int, worst)))}]" if ours.ndim else place
    return f"{where} was {ours[worst]} and is {theirs[worst]}, {apart[worst]:.3g} apart (tolerance {tolerance:g})"


def _sequences(given: Any, found: Any, tolerance: float, place: str) -> str:
    if len(given) != len(found):
        return f"{place} had {len(given)} parts and has {len(found)}"
    parts = (
        difference(a, b, tolerance, f"{place}[{i}]")
        for i, (a, b) in enumerate(zip(given, found, strict=True))
    )
    return next(filter(None, parts), "")


def _mappings(
    given: Mapping[Any, Any], found: Mapping[Any, Any], tolerance: float, place: str
) -> str:
    if set(given) != set(found):
        return f"{place} had the keys {sorted(map(str, given))} and has {sorted(map(str, found))}"
    parts = (difference(given[key], found[key], tolerance, f"{place}[{key!r}]") for key in given)
    return next(filter(None, parts), "")
