"""A merged run on the disk: it appears complete or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from ofacore.batching.cursor import Cursor
from ofacore.checkpoint import CheckpointError, Snapshot, save, step_folder, write_pointer
from ofacore.config import show
from ofacore.generalist.storing import described
from ofacore.ground.folders import check_writable
from ofacore.setup.assembly import Assembly


def check_out(out: Path, runs: Mapping[str, Path]) -> None:
    """The folder is free, and none of the runs.

    Raises:
        UserError: It is taken, or cannot be written.
    """
    for name, place in runs.items():
        inside = out.resolve()
        if inside in (Path(name).resolve(), place.resolve(), *place.resolve().parents[:2]):
            raise CheckpointError(out, "is one of the runs; choose another folder with --out")
    check_writable(out)
    if out.exists() and any(out.iterdir()):
        raise CheckpointError(out, "is not empty; choose another folder with --out")


@contextmanager
def made_whole(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that takes its place at the end, or is gone if anything fails."""
    temporary = out.resolve().with_name(f".tmp-{out.resolve().name}-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if out.exists():
            out.rmdir()
        os.replace(temporary, out.resolve())
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_run(folder: Path, assembly: Assembly, weights: Mapping[str, Tensor]) -> None:
    """A run folder with one checkpoint, of step 0."""
    begun = {"step": 0, "cursor": Cursor().state(), "faults": {}, "callbacks": {}}
    place = step_folder(folder, 0)
    save(place, Snapshot(weights, {**described(assembly), **begun}, artifacts=assembly.artifacts))
    text = show(assembly.config, defaults=False)
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    write_pointer(folder, "latest", place, step=0)
