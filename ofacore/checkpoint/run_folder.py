"""The checkpoints of one run: ``<run>/checkpoints/step-000200``, and the pointers ``latest`` and ``best``."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, Literal

from ofacore.checkpoint.durable import replace_json
from ofacore.checkpoint.errors import CheckpointError
from ofacore.checkpoint.portable import PREVIOUS, TEMPORARY, is_complete, standing

Pointer = Literal["latest", "best"]
_STEP = re.compile(rf"step-\d+({re.escape(PREVIOUS)})?")


def step_folder(run: Path, step: int) -> Path:
    """Folder of the checkpoint after ``step`` steps."""
    return run / "checkpoints" / f"step-{step:06d}"


def checkpoints(run: Path) -> list[Path]:
    """Complete checkpoints of a run, oldest step first."""
    there = [path.name for path in (run / "checkpoints").glob("step-*")]
    names = {name.removesuffix(PREVIOUS) for name in there if _STEP.fullmatch(name)}
    found = [path for path in (standing(run / "checkpoints" / name) for name in names) if is_complete(path)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-").removesuffix(PREVIOUS)))


def write_pointer(run: Path, name: Pointer, checkpoint: Path, **facts: Any) -> None:
    """Let ``latest`` or ``best`` name a checkpoint, atomically; ``facts`` tell why (step, score).

    Raises:
        CheckpointError: The disk is full or not writable; the pointer is then as before.
    """
    path = run / "checkpoints" / name
    try:
        replace_json(path, {"folder": checkpoint.name, **facts})
    except OSError as error:
        reason = f"cannot be written ({error.strerror}), though {checkpoint.name} is complete; make room there"
        raise CheckpointError(path, reason) from error


def read_pointer(run: Path, name: Pointer) -> Path | None:
    """The checkpoint that a pointer names, or None where it names no complete one."""
    path = run / "checkpoints" / name
    if not path.is_file():
        return None
    try:
        folder = run / "checkpoints" / str(json.loads(path.read_text(encoding="utf-8"))["folder"])
    except (ValueError, KeyError, TypeError) as error:
        remedy = "delete it, and the newest complete checkpoint is used" if name == "latest" else "delete it"
        raise CheckpointError(path, f"not a pointer to a checkpoint ({error}); {remedy}") from error
    return standing(folder) if is_complete(standing(folder)) else None


def find_latest(run: Path) -> Path | None:
    """The checkpoint to resume from: ``latest``, or the newest complete one where that is of no use."""
    found = checkpoints(run)
    return read_pointer(run, "latest") or (found[-1] if found else None)


def prune(run: Path, keep_last: int) -> list[Path]:
    """Delete old checkpoints and remains of interrupted writing; returns what was deleted.

    Never deletes what ``latest`` or ``best`` names. The marker goes first, so a half-deleted one does not count.
    """
    protected = {read_pointer(run, "latest"), read_pointer(run, "best")}
    doomed = [path for path in checkpoints(run)[: -keep_last or None] if path not in protected]
    for path in doomed:
        (path / "COMPLETE").unlink()
        shutil.rmtree(path)
    kept = checkpoints(run)
    there = [path for path in (run / "checkpoints").glob("step-*") if _STEP.fullmatch(path.name)]
    remains = [path for path in there if path not in kept]
    for path in [*remains, *(run / "checkpoints").glob(f"{TEMPORARY}*")]:
        shutil.rmtree(path, ignore_errors=True)
    return doomed
