"""Additional decoders of OFASys that pool the encoder's states (its ``extra_models``), as our head ``pooling``.

Both average the positions from a first to a last one, itself included (-1: to the end), with a layer norm before or
behind, and score the mean against the token table. Here a model has one such head, so one decoder is taken over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ofa_foreign.formats.mapping import Entry, Same, Shape

HEAD = "pooling"
"""Our head, and their kind of decoder."""
USUAL = "pooling_decoder"
"""The decoder that OFASys' task ``mae_finetune`` uses."""
_TENSOR = re.compile(r"^extra_models\.([^.]+)\.(.+)$")
_NORMS = {"before": "layernorm_before", "after": "layernorm_after"}


def decoder_of(name: str) -> str:
    """Name of the additional decoder that a tensor belongs to; empty: to none."""
    match = _TENSOR.match(name)
    return match[1] if match else ""


def chosen(config: Mapping[str, Any], shapes: Mapping[str, Shape]) -> str:
    """The decoder that our head becomes, or none: the one that OFASys' own task uses, else the first."""
    tensors: dict[str, list[str]] = {name: [] for name in _settings(config)}
    for match in filter(None, map(_TENSOR.match, shapes)):
        tensors.setdefault(match[1], []).append(match[2])
    usual = [USUAL] if USUAL in tensors else []
    return next((name for name in [*usual, *tensors] if name and _is_pooling(tensors[name])), "")


def options(config: Mapping[str, Any], shapes: Mapping[str, Shape], decoder: str) -> dict[str, Any]:
    """Options of our head; all tokens compete, as there."""
    settings = _settings(config).get(decoder)
    found = settings if isinstance(settings, Mapping) else {}
    places = {key: found.get(f"pooling_position_{key}") for key in ("begin", "end")}
    norms = {
        f"norm_{where}": f"extra_models.{decoder}.{norm}.weight" in shapes
        for where, norm in _NORMS.items()
    }
    return {**{key: int(value or 0) for key, value in places.items()}, **norms, "whole": True}


def entries(decoder: str) -> Iterator[Entry]:
    """How our head's tensors are made of the decoder's."""
    for ours, theirs in _NORMS.items():
        for leaf in ("weight", "bias"):
            yield Same(f"heads.{HEAD}.{ours}.{leaf}", f"extra_models.{decoder}.{theirs}.{leaf}")


def _settings(config: Mapping[str, Any]) -> Mapping[str, Any]:
    extra = config.get("extra_models")
    found = extra.get(HEAD) if isinstance(extra, Mapping) else None
    return (
        {name: part for name, part in found.items() if name != "_name"}
        if isinstance(found, Mapping)
        else {}
    )


def _is_pooling(tensors: Sequence[str]) -> bool:
    """Whether a decoder has no tensors but norms."""
    return all(name.rpartition(".")[0] in _NORMS.values() for name in tensors)
