"""Parts of OFASys' adapters of sounds, as ours.

Both adapters of the original read and write: each has what embeds a source, what embeds a target (prenet) and what a
target comes out of (projections, postnet), on both sides, and uses some of it. Here ``audio_fbank`` reads,
``audio_tgt_fbank`` embeds the frames before, and what comes out is a head, ``audio_steps``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ofa_foreign.formats.mapping import Shape

READER, WRITER, HEAD = "audio_fbank", "audio_tgt_fbank", "audio_steps"
SOUNDS = "audio"
"""Preprocessor of what `READER` reads."""
_PRENET = (
    (r"^prenet\.0\.layers\.(\d+)\.0\.", r"prenet.layers.\1."),
    (r"^prenet\.1\.", "prenet.out."),
)
_OUTPUT = (
    (r"^feat_proj\.", "frames."),
    (r"^eos_proj\.", "stop."),
    (r"^postnet\.convolutions\.(\d+)\.0\.", r"postnet.convolutions.\1."),
    (r"^postnet\.convolutions\.(\d+)\.1\.", r"postnet.norms.\1."),
)
_READING = ((r"^subsample\.", "subsample."), (r"^mask_emb$", "mask_emb"))
_NEVER = "pos_emb_alpha"
"""A number of ``audio_tgt_fbank`` that nothing there reads."""


def own_names(adapter: str, side: str, owner: str, parameters: list[str]) -> dict[str, str]:
    """Name of one of an adapter's parameters -> name of ours, of those that ours are made of.

    Args:
        adapter: `READER` or `WRITER`.
        side: Whose parameters these are, ``encoder`` or ``decoder``.
        owner: The side whose adapter becomes ours.
        parameters: Names behind the adapter's.
    """
    found: dict[str, str] = {}
    inward = _READING if adapter == READER else _PRENET
    for name in parameters:
        if side == owner and (own := _renamed(name, inward)):
            found[name] = f"adapters.{adapter}.{own}"
        elif adapter == WRITER and side == "decoder" and (own := _renamed(name, _OUTPUT)):
            found[name] = f"heads.{HEAD}.{own}"
    return found


def is_idle(adapter: str, side: str, name: str) -> bool:
    """Whether the original never uses a parameter on that side, or only to write with `READER`, which ours does not."""
    if name == _NEVER:
        return True
    writes = bool(_renamed(name, _OUTPUT)) or (adapter == READER and bool(_renamed(name, _PRENET)))
    reads = adapter == READER and bool(_renamed(name, _READING))
    return writes if side == "encoder" else reads or (adapter == READER and writes)


def frame_options(writer: Mapping[str, Any]) -> dict[str, Any]:
    """Options that the preprocessor and the head ``audio_steps`` have in common with `WRITER`."""
    return {name: writer[name] for name in ("bins", "max_frames_per_step")}


def head_options(
    writer: Mapping[str, Any], shapes: Mapping[str, Shape], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Options of the head.

    Args:
        writer: Options of `WRITER`.
        shapes: Name -> shape of every tensor of the state.
        settings: Their settings of `WRITER`.
    """
    share = settings.get("postnet_dropout")
    found = {**frame_options(writer), "norm": "batch"}
    if isinstance(share, int | float):
        found["dropout"] = float(share)
    first = shapes.get(f"decoder.adaptor.{WRITER}.postnet.convolutions.0.0.weight")
    if first is not None:
        found["postnet"] = first[0]
    return found


def _renamed(name: str, table: tuple[tuple[str, str], ...]) -> str:
    """Name of ours; empty: none of the table's patterns fits."""
    for pattern, replacement in table:
        if re.search(pattern, name):
            return re.sub(pattern, replacement, name)
    return ""
