"""What two ranks do for `tests.parallel.test_start`: training begins, and something is in the way."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist

from ofacore import Generalist, Task
from ofacore.generalist import fitting
from ofacore.ground.errors import UserError
from ofacore.ground.folders import check_free, claimed
from ofacore.parallel import process_groups as groups
from ofacore.parallel.process_grid import ProcessGrid
from tests.parallel.whole_run import SIZES

ROWS = [{"a": f"cat {number}", "b": f"dog {number}"} for number in range(8)]
HEAD_START = 1.5
"""Seconds that the other rank has to claim the folder before this one looks."""


def looks_late(folder: Path) -> None:
    """Look at a folder when the first rank has claimed it, or could have."""
    deadline = time.monotonic() + HEAD_START
    while not folder.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    check_free(folder)


def refuses(_: Path) -> None:
    raise UserError("not writable here")


def breaks(_: Path) -> None:
    raise OSError("stale file handle")


def finds_another(folder: Path) -> Path:
    return folder / "checkpoints" / "step-000007"


CASES: dict[str, tuple[int, str, Callable[[Path], Any]]] = {
    "looks late": (1, "check_free", looks_late),
    "refuses": (1, "check_free", refuses),
    "breaks": (1, "check_free", breaks),
    "finds another": (1, "find_latest", finds_another),
    "claimed meanwhile": (0, "claimed", refuses),
}
"""Case -> the rank to which it happens, and which step of `ofacore.generalist.fitting` goes how."""


def main(folder: Path) -> None:
    """One rank of two."""
    torch.set_num_threads(1)
    groups.start(ProcessGrid(int(os.environ["WORLD_SIZE"])))
    said = {name: begun(folder / name, *case) for name, case in CASES.items()}
    (folder / f"said-{groups.world_rank()}.json").write_text(json.dumps(said))
    groups.stop()


def begun(out: Path, rank: int, name: str, does: Callable[[Path], Any]) -> str:
    """How one step of training ends; what is left is free for another run."""
    with ExitStack() as changed:
        if groups.world_rank() == rank:
            changed.enter_context(patch.object(fitting, name, does))
        said = trained(out, resume=name == "find_latest")
    dist.barrier()
    if groups.is_first():
        with claimed(out):
            said += " | free"
    dist.barrier()
    return said


def trained(out: Path, resume: bool) -> str:
    options: dict[str, Any] = {"samples": 4, "precision": "fp32", "threads": 1, "trackers": ()}
    model = Generalist.create(
        [Task("swap", "[TEXT:a] -> [TEXT:b]", train=ROWS)], preset="tiny", **SIZES
    )
    try:
        model.fit(1, out=out, resume=resume, **options)
    except (UserError, RuntimeError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    return "trained"
