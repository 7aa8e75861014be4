"""What only Linux has is asked for before it is used: everything starts, trains and saves without it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ofacore.checkpoint.durable import sync
from ofacore.ground.machine import known_signals, processor_share, processors, signal_name

MODULES = ("fcntl", "resource", "termios", "pwd", "grp")
"""That Windows does not have."""
NAMES = {
    "os": (
        "sched_getaffinity",
        "fork",
        "forkpty",
        "getloadavg",
        "geteuid",
        "getuid",
        "killpg",
        "setsid",
        "statvfs",
    ),
    "signal": ("SIGHUP", "SIGQUIT", "SIGUSR1", "pthread_sigmask"),
}
"""That Windows does not have, macOS in part. SIGKILL stays: torch itself needs it unless the platform is Windows."""
WITHOUT = f"""
import os, signal, sys
for name in {MODULES}:
    sys.modules[name] = None
for module, names in {NAMES}.items():
    for name in names:
        delattr(sys.modules[module], name)
"""
EVERYTHING = """
import importlib, pkgutil
import ofacore, ofa_cli
for package in (ofacore, ofa_cli):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
"""
TRAINING = """
import sys
from pathlib import Path
from ofacore import Generalist, Task
from ofacore.launch.elastic import Job, _environment
task = Task("swap", "[TEXT:a] -> [TEXT:b]", train=[{"a": f"cat {n}", "b": f"dog {n}"} for n in range(8)])
sizes = {"hidden": 32, "ffn": 64, "encoder_layers": 1, "decoder_layers": 1, "heads": 2}
out = Path(sys.argv[1])
Generalist.create([task], preset="tiny", **sizes).fit(2, out=out, samples=4, precision="fp32", trackers=["jsonl"])
assert Generalist.from_pretrained(out).infer("swap", {"a": "cat 1"}, max_length=4).text is not None
with _environment(Job([sys.executable], 2), str(out)):
    pass
"""


def without(code: str, *arguments: str) -> None:
    """Run code in a process that lacks `MODULES` and `NAMES`."""
    command = [sys.executable, "-c", WITHOUT + code, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_every_module_is_imported_without_what_only_some_systems_have() -> None:
    without(EVERYTHING)


def test_two_steps_are_trained_saved_and_read_without_it(tmp_path: Path) -> None:
    without(TRAINING, str(tmp_path / "run"))


def test_the_test_can_fail() -> None:
    with pytest.raises(AssertionError, match="fcntl"):
        without("import fcntl")


def test_processors_are_at_least_one_and_at_most_the_share_of_the_container(tmp_path: Path) -> None:
    assert 1 <= processors() <= (os.cpu_count() or 1)
    assert processor_share(tmp_path) is None
    (tmp_path / "cpu").mkdir()
    for file, text in (("cpu.cfs_quota_us", "-1\n"), ("cpu.cfs_period_us", "100000\n")):
        (tmp_path / "cpu" / file).write_text(text)
    assert processor_share(tmp_path) is None
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("50000\n")
    assert processor_share(tmp_path) == 0.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert processor_share(tmp_path) == 0.5
    (tmp_path / "cpu.max").write_text("250000 100000\n")
    assert processor_share(tmp_path) == 2.5


def test_signals_are_those_of_the_system_and_have_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "SIGHUP", raising=False)
    assert known_signals("SIGTERM", "SIGHUP", "SIGNONE") == (signal.SIGTERM,)
    assert signal_name(signal.SIGTERM) == "SIGTERM" and signal_name(60) == "signal 60"


def test_a_folder_that_cannot_be_opened_is_not_flushed_but_a_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, _: int) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "file").write_text("x")
    monkeypatch.setattr("ofacore.checkpoint.durable.os.open", refused)
    sync(tmp_path)
    with pytest.raises(PermissionError):
        sync(tmp_path / "file")
