"""Checks that run a plugin's code, each plugin in processes of its own and under a time limit."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from ofa_kit.checks.findings import Finding, Subject
from ofa_kit.checks.lightness import foreign_imports
from ofa_kit.checks.references import targets
from ofa_kit.checks.state import remedy_of
from ofacore.plugin import Manifest, ModalityManifest
from ofacore.plugin.source import NotFoundError, locate

CHECK, STOPPED = "imports", "process"
_CORE = "ofacore"
SLOW = 1.0
"""Seconds that an import may take, libraries that it uses not counted."""
_PRELOAD_LIMIT, _POLL = 600.0, 0.02


@dataclass
class Trace:
    """What a process reported."""

    done: list[dict[str, Any]] = field(default_factory=list)
    """One report for each step that ended."""
    stopped: str = ""
    """Why there are no more: ``hangs`` or ``exits``; empty if all steps ended."""


def check_manifest_import(subject: Subject, target: str, timeout: float) -> list[Finding]:
    """Import a manifest in a fresh process: it ends in time, says nothing, changes nothing, brings nothing heavy."""
    steps = [{"do": "import", "target": target}]
    trace = run(steps, timeout)
    found = list(_judge(subject, steps, trace, timeout))
    for report in trace.done:
        for name in report["heavy"]:
            remedy = "name implementations as 'module:Object', or import inside the function that needs it"
            found.append(
                subject.problem("lightness", f"importing the manifest imports {name}", remedy)
            )
    return found


def check_imports(
    subject: Subject, target: str, manifest: Manifest | None, timeout: float
) -> list[Finding]:
    """Import everything that a manifest names, and make a sample of every slot type; without one, the target alone.

    Libraries are imported first, so that neither their time nor their changes are held against the plugin.
    """
    named = list(dict.fromkeys(name for _, name in targets(manifest))) if manifest else []
    steps: list[dict[str, Any]] = [{"do": "preload", "target": _foreign(target, named)}]
    steps.append({"do": "import", "target": target, "again": manifest is not None})
    steps += [{"do": "import", "target": name} for name in named]
    for slot in manifest.slots if isinstance(manifest, ModalityManifest) else ():
        if slot.sample:
            steps.append({"do": "sample", "target": [target, slot.name]})
    return list(_judge(subject, steps, run(steps, timeout), timeout))


def run(steps: Sequence[dict[str, Any]], timeout: float) -> Trace:
    """Take steps in a process of its own; each has ``timeout`` seconds."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        report.touch()
        command = [
            sys.executable,
            "-m",
            "ofa_kit.checks.probe",
            str(report),
            json.dumps(list(steps)),
        ]
        quiet = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
        }
        with subprocess.Popen(command, **quiet) as process:  # type: ignore[call-overload]
            try:
                return _watch(process, report, steps, timeout)
            finally:
                process.kill()


def _watch(
    process: subprocess.Popen[bytes], report: Path, steps: Sequence[dict[str, Any]], timeout: float
) -> Trace:
    trace, lines, since = Trace(), 0, time.monotonic()
    while True:
        ended = process.poll() is not None
        read = _lines(report)
        if len(read) > lines:
            lines, since = len(read), time.monotonic()
            trace.done = [line for line in read if "end" in line]
        if len(trace.done) == len(steps):
            return trace
        if ended:
            trace.stopped = "exits"
            return trace
        working = lines % 2 == 1
        free = not working or steps[len(trace.done)]["do"] == "preload"
        if time.monotonic() - since > (_PRELOAD_LIMIT if free else timeout):
            trace.stopped = "hangs"
            return trace
        time.sleep(_POLL)


def _lines(report: Path) -> list[dict[str, Any]]:
    """Lines that are written to their end."""
    text = report.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _judge(
    subject: Subject, steps: Sequence[dict[str, Any]], trace: Trace, timeout: float
) -> Iterator[Finding]:
    for step, report in zip(steps, trace.done, strict=False):
        if step["do"] != "preload":
            yield from _judge_step(subject, step, report)
    if trace.stopped in ("hangs", "exits") and steps[len(trace.done)]["do"] != "preload":
        what, place = _name(steps[len(trace.done)])
        if trace.stopped == "hangs":
            message, remedy = (
                f"{what} does not end within {timeout:g} s",
                "wait for nothing at import",
            )
        else:
            message, remedy = f"{what} ends the whole process", "raise an exception instead"
        yield subject.problem(STOPPED, message, remedy, place)


def _judge_step(
    subject: Subject, step: dict[str, Any], report: dict[str, Any]
) -> Iterator[Finding]:
    what, place = _name(step)
    if report["error"]:
        yield subject.problem(CHECK, f"{what} fails: {report['error']}", "mend it", place)
    if report["words"]:
        yield subject.problem(CHECK, report["words"], "make both agree", place)
    if report["seconds"] > SLOW and not step.get("again"):
        remedy = "import what is slow inside the function that needs it"
        yield subject.problem(CHECK, f"{what} takes {report['seconds']:.1f} s", remedy, place)
    if report["printed"]:
        first = report["printed"].splitlines()[0]
        remedy = "use logging.getLogger(__name__)"
        yield subject.problem(
            CHECK, f"{what} prints to standard output: {first!r:.60}", remedy, place
        )
    for state in report["changed"]:
        yield subject.problem(CHECK, f"{what} changes {state}", remedy_of(state), place)


def _name(step: dict[str, Any]) -> tuple[str, str]:
    """A step in words, and the place to look at."""
    if step["do"] == "sample":
        return f"the sample of {step['target'][1]}", ""
    try:
        place = str(locate(step["target"]))
    except (NotFoundError, SyntaxError, OSError, UnicodeDecodeError):
        place = ""
    return f"importing '{step['target']}'", place


def _foreign(target: str, named: Sequence[str]) -> list[str]:
    """Libraries that the plugin's modules import, and objects of other distributions that it names."""
    own = _packages_beside(_package(target))
    found: dict[str, None] = {}
    for name in (target, *named):
        if _package(name) not in own or _package(name) == _CORE:
            found[name] = None
            continue
        found.update(
            dict.fromkeys(
                lib for lib in foreign_imports(name.partition(":")[0]) if _package(lib) not in own
            )
        )
    return list(found)


def _package(target: str) -> str:
    return target.partition(":")[0].partition(".")[0]


def _packages_beside(package: str) -> frozenset[str]:
    """Top-level packages and modules that come with one, itself included."""
    installed = packages_distributions()
    owners = set(installed.get(package, ()))
    return frozenset(
        {package, *(name for name, others in installed.items() if owners & set(others))}
    )
