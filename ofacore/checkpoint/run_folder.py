"""The checkpoints of one run: ``<run>/checkpoints/step-000200``, and the pointers ``latest`` and ``best``."""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path
from typing import Any, Literal

from ofacore.checkpoint.checkpoint_errors import CheckpointError
from ofacore.checkpoint.durable import replace_json
from ofacore.checkpoint.file_names import is_plain_name
from ofacore.checkpoint.portable import PREVIOUS, TEMPORARY, is_complete, standing
from ofacore.ground.json_files import JsonError, read_object
from ofacore.ground.printable import shortened

logger = logging.getLogger(__name__)

Pointer = Literal["latest", "best"]
_STEP = re.compile(rf"step-\d+({re.escape(PREVIOUS)})?")


def step_folder(run: Path, step: int) -> Path:
    """Folder of the checkpoint after ``step`` steps."""
    return run / "checkpoints" / f"step-{step:06d}"


def checkpoints(run: Path) -> list[Path]:
    """Complete checkpoints of a run, oldest step first."""
    there = [path.name for path in (run / "checkpoints").glob("step-*")]
    names = {name.removesuffix(PREVIOUS) for name in there if _STEP.fullmatch(name)}
    found = []
    for name in names:
        path = standing(run / "checkpoints" / name)
        if is_complete(path):
            found.append(path)
    return sorted(
        found, key=lambda path: int(path.name.removeprefix("step-").removesuffix(PREVIOUS))
    )


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
    """The checkpoint that a pointer names, or None where it names no complete one.

    Raises:
        CheckpointError: It is no pointer, or one to somewhere else than a folder beside it.
    """
    folder = _named(run, name)
    return standing(folder) if folder is not None and is_complete(standing(folder)) else None


def _named(run: Path, name: Pointer) -> Path | None:
    path = run / "checkpoints" / name
    if not path.is_file():
        return None
    remedy = (
        "delete it, and the newest complete checkpoint is used" if name == "latest" else "delete it"
    )
    try:
        found = read_object(path).get("folder")
    except JsonError as error:
        raise CheckpointError(
            path, f"not a pointer to a checkpoint ({error.reason}); {remedy}"
        ) from error
    if not is_plain_name(found):
        what = f"names {shortened(repr(found))}; expected the name of a folder beside it"
        raise CheckpointError(path, f"not a pointer to a checkpoint: {what}; {remedy}")
    return run / "checkpoints" / str(found)


def pointer_facts(run: Path, name: Pointer) -> dict[str, Any]:
    """What `write_pointer` was told of a pointer, such as step and score; empty where there is none to read."""
    try:
        return read_object(run / "checkpoints" / name)
    except (JsonError, OSError):
        return {}


def find_latest(run: Path) -> Path | None:
    """The checkpoint to resume from: ``latest``, or the newest complete one where that is of no use."""
    named, found = read_pointer(run, "latest"), checkpoints(run)
    lost = _named(run, "latest") if named is None else None
    if lost is not None and found:
        logger.warning(
            "%s names no complete checkpoint; %s is used, the newest one",
            _told(lost),
            found[-1].name,
        )
    return named or (found[-1] if found else None)


def _told(lost: Path) -> str:
    return f"{lost.parent / 'latest'}: '{shortened(lost.name)}'"


def prune(run: Path, keep_last: int) -> list[Path]:
    """Delete old checkpoints and remains of interrupted writing; returns what was deleted.

    Never deletes what ``latest`` or ``best`` names, nor anything through a link: it may be another run's. The marker
    goes first, so a half-deleted one does not count.
    """
    protected = {read_pointer(run, "latest"), read_pointer(run, "best")}
    own = [path for path in checkpoints(run) if not path.is_symlink()]
    doomed = [path for path in own[: -keep_last or None] if path not in protected]
    for path in doomed:
        (path / "COMPLETE").unlink()
        shutil.rmtree(path)
    kept = checkpoints(run)
    there = [path for path in (run / "checkpoints").glob("step-*") if _STEP.fullmatch(path.name)]
    remains = [path for path in there if path not in kept and not path.is_symlink()]
    for path in [*remains, *(run / "checkpoints").glob(f"{TEMPORARY}*")]:
        shutil.rmtree(path, ignore_errors=True)
    return doomed
