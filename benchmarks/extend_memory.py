"""Peak memory of a model that takes a task, from the disk and beside another one, and of one that is loaded.

    python benchmarks/extend_memory.py --hidden 1024

Each side runs in a process of its own and tells how much more it held at its peak than before it began, against the
size of its weights. With ``--allocator plain`` glibc keeps freed memory as it does anywhere; by default it is told to
give it back (``MALLOC_MMAP_THRESHOLD_``), so that the numbers are those of the tensors.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROWS = [{"a": "red", "b": "RED", "kind": "x"}, {"a": "cat", "b": "CAT", "kind": "y"}]
LINE = "[TEXT:a] -> [TEXT:b]"
TINY = {"hidden": 32, "ffn": 64, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}


def make(folder: Path, hidden: int) -> None:
    """A stored model, and what is new to it."""
    from ofacore import Generalist, Task

    sizes = {**TINY, "hidden": hidden, "ffn": 4 * hidden, "heads": hidden // 64}
    sizes |= {"encoder_layers": 4, "decoder_layers": 4}
    Generalist.create([Task("t", LINE, train=ROWS)], **sizes).save(folder / "old")
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    line = "which? [TEXT:a] -> [CATEGORY:kind]"
    task = {"instruction": line, "data": {"train": str(folder / "rows.jsonl")}}
    (folder / "own.yaml").write_text(json.dumps({"tasks": {"s": task}}))


def measured(side: str, folder: Path) -> dict[str, float]:
    """Megabytes: weights, and the most that was held beside what imports take."""
    from ofacore import Generalist, Task
    from ofacore.ground.machine import peak_memory
    from ofacore.runs.extended_run import begin, read_extension

    Generalist.create([Task("t", LINE, train=ROWS)], **TINY)
    old = Generalist.from_pretrained(folder / "old") if side == "beside" else None
    before = peak_memory()
    if old is not None:
        line = "which? [TEXT:a] -> [CATEGORY:kind]"
        model = old.extend([Task("s", line, train=ROWS)])
    elif side == "load":
        model = Generalist.from_pretrained(folder / "old")
    else:
        run, extension = read_extension([str(folder / "own.yaml")], [], folder / "old")
        model = begin(extension, run)
    held = (peak_memory() - before) / 2**20
    weights = sum(p.numel() * p.element_size() for p in model.model.parameters()) / 2**20
    return {"weights": weights, "held": held, "times": held / weights}


def main() -> None:
    """Make the model, then measure each side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=1024, help="Width: 1024 is 450 MB.")
    parser.add_argument("--allocator", choices=("told", "plain"), default="told")
    parser.add_argument("--side", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        if given.side == "make":
            make(given.folder, given.hidden)
        else:
            print(json.dumps(measured(given.side, given.folder)))
        return
    told = {"MALLOC_MMAP_THRESHOLD_": "1000000"} if given.allocator == "told" else {}
    environment = {**os.environ, **told}
    with TemporaryDirectory() as folder:
        for side in ("make", "extend", "beside", "load"):
            own = [sys.executable, __file__, "--side", side, "--folder", folder]
            command = [*own, "--hidden", str(given.hidden)]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            )
            if side != "make":
                print(side, done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    main()
