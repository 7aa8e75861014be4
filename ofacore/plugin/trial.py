"""New manifests are first imported in a process of its own: an import may never end, or may end the whole process.

The process is started as ``python -m ofacore.plugin.trial REPORT PATHS TARGETS`` and writes lines of JSON: one when an
import begins, one when it is done. Whoever waits for it knows by them which plugin it stands at.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

TIME_LIMIT = 20.0
"""Seconds that the import of one manifest may take; ``OFA_PLUGIN_TIMEOUT`` sets another number."""
_TOLD_AFTER, _START_LIMIT, _POLL = 2.0, 60.0, 0.02


def try_imports(targets: Sequence[str]) -> dict[str, str]:
    """Import manifests elsewhere; what they raise does not count, as it is told where they are imported here.

    Args:
        targets: ``"module:Object"`` of each.

    Returns:
        Target -> why it must not be imported here, of those that do not end or end the process.
    """
    stopped: dict[str, str] = {}
    left = list(targets)
    while left:
        done, reason = _run(left)
        if not reason:
            break
        stopped[left[done]] = reason
        left = left[done + 1 :]
    return stopped


def time_limit() -> float:
    """Seconds that one import may take."""
    try:
        return max(0.1, float(os.environ.get("OFA_PLUGIN_TIMEOUT", TIME_LIMIT)))
    except ValueError:
        return TIME_LIMIT


def _run(targets: Sequence[str]) -> tuple[int, str]:
    """How many imports were done, and why there are no more; no reason where all were."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        report.touch()
        arguments = [str(report), json.dumps(sys.path), json.dumps(list(targets))]
        with subprocess.Popen(
            [sys.executable, "-m", "ofacore.plugin.trial", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                return _watch(process, report, targets)
            finally:
                process.kill()


def _watch(
    process: subprocess.Popen[bytes], report: Path, targets: Sequence[str]
) -> tuple[int, str]:
    limit, lines, since, told = time_limit(), 0, time.monotonic(), False
    while True:
        ended = process.poll() is not None
        read = report.read_text(encoding="utf-8").count("\n")
        done = read // 2
        if read > lines:
            lines, since, told = read, time.monotonic(), False
        if done == len(targets):
            return done, ""
        waited, begun = time.monotonic() - since, read % 2 == 1
        if ended or (not begun and waited > _START_LIMIT):
            # a process that could not even begin says nothing about a plugin: its import here will tell
            return done, f"the import of '{targets[done]}' ends the whole process" if begun else ""
        if begun and waited > limit:
            return done, f"the import of '{targets[done]}' does not end within {limit:g} s"
        if begun and waited > _TOLD_AFTER and not told:
            told = True
            print(f"waiting for the import of '{targets[done]}' ...", file=sys.stderr)
        time.sleep(_POLL)


def main(report: str, paths: str, targets: str) -> None:
    """Import one manifest after the other, and write down where this process stands."""
    from ofacore.plugin.plugin_rows import import_target

    sys.path[:] = json.loads(paths)
    with Path(report).open("a", encoding="utf-8") as file:
        for target in json.loads(targets):
            print(json.dumps({"begin": target}), file=file, flush=True)
            try:
                import_target(target)
            except BaseException as error:
                print(f"{target}: {error!r}", file=sys.stderr)
            print(json.dumps({"end": target}), file=file, flush=True)
    os._exit(0)  # whatever threads a plugin has left behind


if __name__ == "__main__":
    main(*sys.argv[1:])
