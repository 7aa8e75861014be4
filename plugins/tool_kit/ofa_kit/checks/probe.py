"""Runs a plugin's imports in a process of its own and writes down what each of them does.

Started by `ofa_kit.checks.running` as ``python -m ofa_kit.checks.probe REPORT STEPS``. The report is a file of
JSON lines: one when a step begins, one when it is done, so that whoever waits for it knows where it stands.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ofa_kit.checks.lightness import HEAVY
from ofa_kit.checks.state import changed, snapshot
from ofacore.ground.json_text import json_text
from ofacore.plugin.plugin_rows import describe, import_target

_SHOWN = 2000
"""Most bytes of standard output that are reported."""


def main(report: str, steps: str) -> None:
    """Take the steps in order.

    Args:
        report: File that is written.
        steps: JSON list of steps: ``{"do": "preload" | "import" | "sample", "target": ...}``.
    """
    with Path(report).open("a", encoding="utf-8") as file:
        for number, step in enumerate(json.loads(steps)):
            _write(file, {"begin": number})
            _write(file, {"end": number, **_take(step)})
    os._exit(0)  # whatever threads the plugin has left behind


def _write(file: io.TextIOWrapper, line: dict[str, Any]) -> None:
    file.write(json_text(line) + "\n")
    file.flush()


def _take(step: dict[str, Any]) -> dict[str, Any]:
    """What a step did: error, seconds, printed, changed, heavy libraries that came along, further words."""
    before, modules = snapshot(), set(sys.modules)
    start = time.perf_counter()
    error, words = "", ""
    with _captured() as printed:
        try:
            words = _ACTIONS[step["do"]](step["target"])
        except KeyboardInterrupt:
            raise
        except BaseException as problem:
            error = describe(problem)
    seconds = time.perf_counter() - start
    heavy = sorted({name.partition(".")[0] for name in set(sys.modules) - modules} & set(HEAVY))
    return {
        "error": error,
        "seconds": seconds,
        "printed": printed(),
        "changed": changed(before, snapshot()),
        "heavy": heavy,
        "words": words,
    }


@contextlib.contextmanager
def _captured() -> Iterator[Callable[[], str]]:
    """What is written to standard output meanwhile, also by libraries in C."""
    sys.stdout.flush()
    kept, text = os.dup(1), list[str]()
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        try:
            yield lambda: "".join(text)
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
            os.dup2(kept, 1)
            os.close(kept)
            file.seek(0)
            text.append(file.read(_SHOWN).decode(errors="replace").strip())


def _preload(names: list[str]) -> str:
    """Libraries and objects of others, whose import is not the plugin's fault; what fails here fails again later."""
    for name in names:
        with contextlib.suppress(Exception):
            import_target(name) if ":" in name else importlib.import_module(name)
    return ""


def _import(target: str) -> str:
    import_target(target)
    return ""


def _sample(arguments: list[str]) -> str:
    """The sample value of a slot type is one value of it."""
    manifest, name = arguments
    slot = next(slot for slot in import_target(manifest).slots if slot.name == name)  # type: ignore[attr-defined]
    value = import_target(slot.sample)()  # type: ignore[operator]
    if not slot.is_element(value):
        return f"is_element says no to the sample of {name}, {value!r:.60}"
    return ""


_ACTIONS: dict[str, Callable[[Any], str]] = {
    "preload": _preload,
    "import": _import,
    "sample": _sample,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
