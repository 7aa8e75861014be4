"""Files with an object of JSON a line, each of one step, that a run goes on writing after it was cut off."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path


def keep_lines(path: Path, is_kept: Callable[[float], bool]) -> None:
    """Drop what is done again: lines whose step is not kept, and a line that was cut off while it was written.

    Args:
        path: The file; nothing happens where there is none.
        is_kept: Of a step; infinity is that of a line that cannot be read.
    """
    if not path.exists():
        return
    before = path.read_text(encoding="utf-8", errors="replace")
    lines = [line for line in before.split("\n") if is_kept(_step_of(line))]
    after = "".join(f"{line}\n" for line in lines)
    if after != before:
        temporary = path.with_suffix(f"{path.suffix}.tmp")
        temporary.write_text(after, encoding="utf-8")
        os.replace(temporary, path)


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
