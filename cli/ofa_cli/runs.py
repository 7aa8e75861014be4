"""Run folders as the command line is given them."""

from __future__ import annotations

from pathlib import Path

from ofacore.ground.errors import UserError


def run_folder(path: Path) -> Path:
    """The folder, if there is one.

    Raises:
        UserError: No folder of that name; the message lists its neighbours.
    """
    if path.is_dir():
        return path
    from ofacore.plugin import suggest

    neighbours = (
        [entry.name for entry in path.parent.iterdir() if entry.is_dir()]
        if path.parent.is_dir()
        else []
    )
    way_out = suggest(path.name, neighbours) or "ofa train makes one"
    raise UserError(f"no run folder '{path}'; {way_out}")
