"""Start-up of the command line, and what 200 more plugins cost with a warm cache.

    python benchmarks/bench_start.py

Every call is a process of its own; alternating, medians of wall time in milliseconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from measuring import save

ROUNDS = 15
EXTRA = 200
COMMANDS = (
    ("--help",),
    ("plugins", "list"),
    ("tasks", "list"),
    ("explain", "[TEXT:a] -> [TEXT:b]"),
)
MANIFEST = """
from ofacore.plugin import CONTRACT, ModalityManifest, SlotType

def is_element(value: object) -> bool:
    return isinstance(value, str)

MANIFEST = ModalityManifest("extra{number}", CONTRACT, (SlotType("EXTRA{number}", "", "extra", "text", is_element),))
"""


def install_extra(folder: Path) -> None:
    """Write distributions, each with one slot type."""
    for number in range(EXTRA):
        info = folder / f"extra_{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: extra-{number}\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(
            f"[ofa.modality]\nextra{number} = extra_{number}:MANIFEST\n"
        )
        (folder / f"extra_{number}.py").write_text(MANIFEST.format(number=number))


def milliseconds(arguments: tuple[str, ...], environment: dict[str, str]) -> float:
    """Wall time of one call of ``ofa``."""
    command = [str(Path(sys.executable).with_name("ofa")), *arguments]
    start = perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return (perf_counter() - start) * 1000


def main() -> None:
    """Print one line for each command, then the cost of the extra plugins."""
    with tempfile.TemporaryDirectory() as scratch:
        plain = {**os.environ, "OFA_CACHE": f"{scratch}/plain"}
        path = os.pathsep.join(filter(None, [f"{scratch}/site", os.environ.get("PYTHONPATH")]))
        crowded = {**os.environ, "OFA_CACHE": f"{scratch}/crowded", "PYTHONPATH": path}
        (Path(scratch) / "site").mkdir()
        install_extra(Path(scratch) / "site")
        milliseconds(("plugins", "list"), plain), milliseconds(("plugins", "list"), crowded)
        times: dict[tuple[str, ...], list[float]] = {command: [] for command in COMMANDS}
        more: list[float] = []
        for _ in range(ROUNDS):
            for command in COMMANDS:
                times[command].append(milliseconds(command, plain))
            more.append(milliseconds(("plugins", "list"), crowded))
    for command, taken in times.items():
        print(f"ofa {' '.join(command):32} {median(taken):6.0f} ms")
    cost = median(more) - median(times[COMMANDS[1]])
    print(f"{EXTRA} more plugins, warm cache        {cost:+6.0f} ms")
    commands = {f"ofa {' '.join(command)}": median(taken) for command, taken in times.items()}
    save("start", {"milliseconds": commands, f"{EXTRA} more plugins": cost})


if __name__ == "__main__":
    main()
