"""Folders outside of the project that the core writes to."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """The folder for everything that can be made again: ``OFA_CACHE``, else ``ofacore`` in the user's cache folder."""
    if chosen := os.environ.get("OFA_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "ofacore"
