"""Processes that fail, are killed or hang: the launcher ends the others and tells what happened, and who it was."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ofacore.launch.elastic import Job, RankFailedError, RankUserError, launch
from ofacore.launch.watchdog import is_waiting

pytestmark = [
    pytest.mark.dist,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings(
        "ignore:unclosed file:ResourceWarning"
    ),  # torch leaves its log files to the collector
]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


BEGIN = """
import os, signal, sys, time
from pathlib import Path
from ofacore.launch.watchdog import Watchdog, folder_of
rank, place = int(os.environ["RANK"]), Path(__file__).parent

def report(text, user):
    from ofacore.launch.elastic import leave_report
    leave_report(text, user, rank, folder_of())
    sys.exit(2 if user else 1)
"""


def job(folder: Path, script: str, ranks: int = 2, restarts: int = 0) -> Job:
    path = folder / "worker.py"
    path.write_text(BEGIN + script)
    return Job([sys.executable, str(path)], ranks, restarts, ("--resume",))


def test_all_processes_run_with_their_own_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    launch(
        job(tmp_path, "(place / f'done-{rank}').write_text(os.environ['OMP_NUM_THREADS'])", ranks=3)
    )
    threads = [int((tmp_path / f"done-{rank}").read_text()) for rank in range(3)]
    assert all(count >= 1 for count in threads)


def test_only_the_first_process_is_heard(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    launch(job(tmp_path, "print('hello from', rank, flush=True)"))
    assert capfd.readouterr().out == "hello from 0\n"


def test_a_killed_process_ends_the_others_soon_and_is_named(tmp_path: Path) -> None:
    script = """
if rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(100)
(place / "late").touch()
"""
    with pytest.raises(RankFailedError, match="rank 1 was killed by SIGKILL"):
        launch(job(tmp_path, script))
    assert not (tmp_path / "late").exists()


def test_an_error_of_several_processes_is_told_once(tmp_path: Path) -> None:
    with pytest.raises(RankUserError) as told:
        launch(job(tmp_path, "time.sleep(rank); report('no such file', True)", restarts=3))
    assert str(told.value) in ("ranks 0, 1: no such file", "rank 0: no such file")


def test_a_failure_is_told_with_its_rank(tmp_path: Path) -> None:
    with pytest.raises(RankFailedError, match="rank 1: out of luck"):
        launch(job(tmp_path, "report('out of luck', False) if rank == 1 else time.sleep(100)"))


def test_a_process_that_says_nothing_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(RankFailedError, match="rank 1 ended with exit code 7\nlast words"):
        launch(
            job(
                tmp_path,
                "rank and print('last words', file=sys.stderr, flush=True); rank and os._exit(7)",
            )
        )


def test_restarts_resume_and_are_counted(tmp_path: Path) -> None:
    script = """
with open(place / f"calls-{rank}", "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
if rank == 0 and len((place / "calls-0").read_text().splitlines()) < 3:
    report("again", False)
"""
    launch(job(tmp_path, script, restarts=2))
    assert (tmp_path / "calls-0").read_text() == "\n--resume\n--resume\n"
    (tmp_path / "calls-0").unlink()
    with pytest.raises(RankFailedError, match="rank 0: again"):
        launch(job(tmp_path, script, restarts=1))


HANGING = """
(place / f"here-{rank}").touch()
while not all((place / f"here-{each}").exists() for each in (0, 1)):
    time.sleep(0.01)
watchdog = Watchdog(rank, 1.0, folder_of())
watchdog.beat(7)

def stuck_in_here():
    time.sleep(100)

def waiting():
    exec(compile("import time; time.sleep(100)", "/x/torch/distributed/distributed_c10d.py", "exec"))

stuck_in_here() if rank == 1 else waiting()
"""


def test_a_hung_process_is_reported_with_its_stack(tmp_path: Path) -> None:
    with pytest.raises(RankFailedError, match="rank 1 hung after step 7") as told:
        launch(job(tmp_path, HANGING))
    assert "in stuck_in_here" in str(told.value)
    assert "rank 0" not in str(told.value)


def test_a_stopped_process_counts_as_hung(tmp_path: Path) -> None:
    with pytest.raises(
        RankFailedError, match="rank 1 hung after step 7.*\nno stack: the process is stopped"
    ):
        launch(
            job(
                tmp_path,
                HANGING.replace("stuck_in_here() if", "os.kill(os.getpid(), signal.SIGSTOP) if"),
            )
        )


def test_the_innermost_frame_of_the_main_thread_decides_who_waits() -> None:
    other = 'Thread 0x1 (most recent call first):\n  File "/a/queue.py", line 1 in get\n\n'
    main = "Current thread 0x2 (most recent call first):\n"
    collective = '  File "/s/torch/distributed/distributed_c10d.py", line 9 in all_reduce\n'
    own = '  File "/s/mine.py", line 3 in step\n'
    assert is_waiting(other + main + collective + own)
    assert not is_waiting(other + main + own + collective)
    assert not is_waiting("")
