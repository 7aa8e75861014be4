"""Ways in which a backbone's work can be divided among processes, and refusing those that it does not know."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ofacore.parallel.process_grid import ProcessGrid
from ofacore.plugin.manifest import Division


def asked(layout: ProcessGrid) -> Iterator[tuple[Division, str, int]]:
    """Division, key of the section ``parallel`` and its value, for all that a layout asks of a backbone."""
    if layout.tensor > 1:
        yield "tensor", "tp", layout.tensor
    if layout.sequence:
        yield "sequence", "sp", 1
    if layout.pipeline > 1:
        yield "pipeline", "pp", layout.pipeline
    if layout.expert > 1:
        yield "expert", "ep", layout.expert
    if layout.fsdp:
        yield "fsdp", "fsdp", 1


def cannot_divide(owner: str, key: str, value: int, others: Collection[str] = ()) -> str:
    """Why a backbone cannot work under a layout, and the way out.

    Args:
        owner: The backbone, in words.
        key: Of the section ``parallel``.
        value: Its value.
        others: Names of backbones that can be divided so.
    """
    switch = key in ("sp", "fsdp")
    asked_for, instead = (f"--{key}", "leave it out") if switch else (f"--{key} {value}", "set 1")
    other = f", or model.backbone={' or '.join(others)}" if others else ""
    return f"{owner} cannot be divided: {asked_for}; {instead}{other}"
