"""Starting the processes of a run on this machine with torch elastic, and telling how they ended."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ofacore.ground.errors import UserError
from ofacore.ground.json_text import json_text
from ofacore.ground.machine import known_signals, processors, signal_name
from ofacore.launch import watchdog

_SHUTDOWN = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"
_HANDLED = known_signals("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
_SETTLING = 3.0
"""Seconds between the first timer that runs out and the judgement who hangs: time for the others to write theirs."""


class RankUserError(UserError):
    """Something the user gave is wrong, said by some processes."""


class RankFailedError(RuntimeError):
    """A process failed, was killed, or hung."""


@dataclass(frozen=True)
class Job:
    """What to run."""

    command: Sequence[str]
    """Program and arguments of every process."""
    processes: int
    restarts: int = 0
    """Times the processes are started again when one failed."""
    resume: Sequence[str] = ()
    """Arguments added then."""
    environment: Mapping[str, str] = field(default_factory=dict)
    patience: float = 600.0
    """Seconds that the processes have for the step, its saving and the end once the launcher was told to stop."""


def launch(job: Job) -> None:
    """Run a job to its end.

    Raises:
        RankUserError: Something the user gave is wrong; starting again would not help.
        RankFailedError: A process failed once more often than it may be started again, or a signal to the launcher
            ended one before it had saved.
    """
    for attempt in range(job.restarts + 1):
        arguments = [*job.command, *(job.resume if attempt else ())]
        try:
            return _attempt(job, arguments)
        except RankFailedError as error:
            if attempt == job.restarts:
                raise
            message = f"{error}\nstarting again from the last checkpoint ({attempt + 1} of {job.restarts})"
            logging.getLogger("ofacore.training").warning(message)


def _attempt(job: Job, arguments: Sequence[str]) -> None:
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with tempfile.TemporaryDirectory(prefix="ofa-ranks-") as name, _environment(job, name):
        folder = Path(name)
        quiet = {rank: Std.ALL for rank in range(1, job.processes)}
        patience = None if _SHUTDOWN in os.environ else math.ceil(job.patience)
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=job.processes,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            run_id=uuid.uuid4().hex,
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(str(folder / "logs"), quiet),
            shutdown_timeout=patience,
        )
        monitor = _Monitor(folder, job.processes)
        try:
            with monitor, _silent(), _handlers_kept():
                elastic_launch(config, arguments[0])(*arguments[1:])
        except SignalException as error:
            if _reports(folder, job.processes):
                raise _told(folder, job.processes, {}, ()) from None
            lost = [
                rank
                for rank in range(job.processes)
                if not watchdog.done_file(folder, rank).exists()
            ]
            if lost:
                raise RankFailedError(_of_lost(error.sigval, lost)) from None
        except ChildFailedError as error:
            codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            raise _told(folder, job.processes, codes, monitor.hung) from None


@contextmanager
def _environment(job: Job, folder: str) -> Iterator[None]:
    """What processes inherit: one team of threads each, and where to leave notes."""
    threads = max(1, processors() // job.processes)
    added = {**job.environment, watchdog.FOLDER: folder}
    added["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", str(threads))
    added["CUDA_DEVICE_MAX_CONNECTIONS"] = "1"  # megatron orders its communication by it
    added["TORCHELASTIC_SIGNALS_TO_HANDLE"] = _handled()
    before = {key: os.environ.get(key) for key in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """The agent leaves its own handlers of signals behind; it sets none outside of the main thread."""
    before = {number: signal.getsignal(number) for number in _HANDLED}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def _handled() -> str:
    """Signals for the agent to pass on. SIGHUP stays ignored where it is, as under ``nohup``."""
    passed = [
        number
        for number in _HANDLED
        if number.name != "SIGHUP" or signal.getsignal(number) != signal.SIG_IGN
    ]
    return ",".join(number.name for number in passed)


@contextmanager
def _silent() -> Iterator[None]:
    """The agent's log repeats what is told better here."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


class _Monitor:
    """Watches for hung processes, notes their stacks and ends them; the agent then ends the others."""

    def __init__(self, folder: Path, ranks: int) -> None:
        self.folder, self.ranks, self.hung = folder, ranks, list[watchdog.Hung]()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ofa-monitor", daemon=True)

    def __enter__(self) -> _Monitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.5):
            if watchdog.hung(self.folder, self.ranks) and not self._done.wait(_SETTLING):
                self.hung = watchdog.hung(self.folder, self.ranks)
                for each in self.hung:
                    watchdog.end(each)
                return


# ---------------------------------------------------------------- what processes say of their errors


def leave_report(message: str, user: bool, rank: int, folder: Path) -> None:
    """Note the error that ends this process, for the launcher to tell."""
    report = {"message": message, "user": user, "time": time.time()}
    (folder / f"error-{rank}.json").write_text(json_text(report), encoding="utf-8")


def _told(
    folder: Path, ranks: int, codes: Mapping[int, int], stuck: Sequence[watchdog.Hung]
) -> RankUserError | RankFailedError:
    """One error for all processes: the cause first, then what the others said."""
    reports = _reports(folder, ranks)
    first = min(reports.values(), key=lambda report: report[2], default=None)
    killed = {rank: code for rank, code in codes.items() if code < 0 and -code != signal.SIGTERM}
    if first and first[1] and not killed and not stuck:
        return RankUserError(
            _grouped({rank: text for rank, (text, user, _) in reports.items() if user})
        )
    causes = [_of_hung(each) for each in stuck] or [
        _of_killed(rank, code) for rank, code in killed.items()
    ]
    silent = {rank: code for rank, code in codes.items() if code > 0 and rank not in reports}
    causes += [] if stuck else [_of_silent(folder, rank, code) for rank, code in silent.items()]
    messages = {
        rank: text for rank, (text, _, _) in sorted(reports.items(), key=lambda item: item[1][2])
    }
    return RankFailedError("\n".join([*causes, *([_grouped(messages)] if messages else [])]))


def _reports(folder: Path, ranks: int) -> dict[int, tuple[str, bool, float]]:
    found = {}
    for rank in range(ranks):
        path = folder / f"error-{rank}.json"
        if path.exists():
            report = json.loads(path.read_text(encoding="utf-8"))
            found[rank] = (report["message"], report["user"], report["time"])
    return found


def _grouped(messages: Mapping[int, str]) -> str:
    """Each message once, with the processes that said it."""
    said: dict[str, list[str]] = {}
    for rank, text in messages.items():
        said.setdefault(text, []).append(str(rank))
    return "\n".join(
        f"{'rank' if len(by) == 1 else 'ranks'} {', '.join(sorted(by, key=int))}: {text}"
        for text, by in said.items()
    )


def _of_hung(process: watchdog.Hung) -> str:
    stack = process.stack.rstrip() or "no stack: the process is stopped"
    return f"rank {process.rank} hung after step {process.step} (parallel.timeout); it was doing this:\n{stack}"


def _of_killed(rank: int, code: int) -> str:
    name = signal_name(-code)
    hint = "; the system does this when memory runs out" if name == "SIGKILL" else ""
    return f"rank {rank} was killed by {name}{hint}; the other ranks were stopped"


def _of_lost(number: signal.Signals, ranks: Sequence[int]) -> str:
    who = f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"
    return f"stopped by {number.name}, which ended {who} before the run was saved; the checkpoint before it stands"


def _of_silent(folder: Path, rank: int, code: int) -> str:
    logs = sorted((folder / "logs").glob(f"**/{rank}/stderr.log"))
    tail = (
        "\n".join(logs[-1].read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
        if logs
        else ""
    )
    return f"rank {rank} ended with exit code {code}\n{tail}".rstrip()
