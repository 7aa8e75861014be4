"""A save killed before each of its file operations, by one process and by two, leaves a checkpoint that loads."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from ofacore.checkpoint import (
    Snapshot,
    checkpoints,
    find_latest,
    load,
    prune,
    save,
    save_sharded,
    step_folder,
)
from ofacore.checkpoint import write_pointer as point
from ofacore.checkpoint.sharded import on_first
from ofacore.parallel.held_parts import placed

CHANGES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.truncate"}
ROWS = 4


def die_before(number: int) -> None:
    """From now on: this process is killed right before the operation of that number that changes files."""
    left = number

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        reads = event == "open" and not int(str(arguments[2] or 0)) & (
            os.O_WRONLY | os.O_RDWR | os.O_CREAT
        )
        if event not in CHANGES or reads:
            return
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def forked(work: Callable[[], None], log: Path) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def killed(child: int, log: Path) -> bool:
    """Whether it was; else it must have come to its end."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), log.read_text(errors="replace")
    return code != 0


def weights(step: int) -> torch.Tensor:
    return torch.full((ROWS, 3), float(step))


def snapshot(step: int, rank: int = 0, ranks: int = 1) -> Snapshot:
    """What a rank holds: its rows of the weights, with their place where there are several ranks."""
    rows = ROWS // ranks
    part = weights(step)[rank * rows : (rank + 1) * rows].clone()
    held = part if ranks == 1 else placed(part, (ROWS, 3), (rank * rows, 0))
    return Snapshot(
        {"w": held}, {"step": step}, {"w|step": torch.tensor(float(step))}, {"methods": {}}
    )


def stepped(
    run: Path, step: int, write: Callable[[Path], Path], group: dist.ProcessGroup | None = None
) -> None:
    """What a run does at a step: save, let ``latest`` point there, delete what is old."""
    folder = write(step_folder(run, step))

    def settle() -> None:
        point(run, "latest", folder, step=step)
        prune(run, 2)

    on_first(settle, group)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """What forks must not hold threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def usable(run: Path, last: int) -> None:
    """Whatever counts as a checkpoint loads whole, and none older than ``last`` is the latest."""
    found = find_latest(run)
    assert found is not None
    for place in checkpoints(run):
        step = load(place).state["step"]
        assert (
            torch.equal(load(place).model["w"], weights(step))
            and load(place).optimizer["w|step"] == step
        )
    assert load(found).state["step"] >= last


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A run after three steps, to be copied."""
    for step in (1, 2, 3):
        stepped(tmp_path / "before", step, lambda folder, step=step: save(folder, snapshot(step)))  # type: ignore[misc]
    return tmp_path / "before"


def goes_on(run: Path) -> None:
    """The save after a killed one stands, and tidies up what that left."""
    stepped(run, 6, lambda folder: save(folder, snapshot(6)))
    usable(run, 6)
    assert len(list((run / "checkpoints").glob("*step*"))) == 2


CASES = {"portable": (save, 3), "sharded": (save_sharded, 3), "sharded, new": (save_sharded, 4)}


@pytest.mark.parametrize(("write", "step"), CASES.values(), ids=CASES)
def test_one_process(before: Path, write: Callable[..., Path], step: int) -> None:
    """Step 3 is there already and is replaced; before every operation in turn, until a save needs no more of them."""
    for number in range(200):
        run = Path(shutil.copytree(before, before.with_name(str(number))))

        def work(run: Path = run, number: int = number) -> None:
            die_before(number)
            stepped(run, step, lambda folder: write(folder, snapshot(step)))

        log = run / "said"
        died = killed(forked(work, log), log)
        usable(run, 3)
        goes_on(run)
        if not died:
            break
    assert number > 10


def rank_work(run: Path, rank: int, number: int | None) -> None:
    """The save of step 4 on a rank of two, which dies before its operation ``number``."""
    dist.init_process_group("gloo", init_method=f"file://{run}/rendezvous", rank=rank, world_size=2)
    dist.barrier()
    if number is not None:
        die_before(number)
    stepped(
        run,
        4,
        lambda folder: save_sharded(folder, snapshot(4, rank, 2), dist.group.WORLD),
        dist.group.WORLD,
    )


@pytest.mark.dist
@pytest.mark.parametrize("doomed", [0, 1])
def test_one_of_two(before: Path, doomed: int) -> None:
    """The other rank fails too, and never declares complete what is not."""
    for number in range(200):
        run = Path(shutil.copytree(before, before.with_name(str(number))))
        deaths = [number if rank == doomed else None for rank in (0, 1)]
        logs = [run / f"said-{rank}" for rank in (0, 1)]
        ranks = [forked(partial(rank_work, run, rank, deaths[rank]), logs[rank]) for rank in (0, 1)]
        died = killed(ranks[doomed], logs[doomed])
        _end(ranks[1 - doomed], 10.0 if died else 300.0)
        usable(run, 3 if died else 4)
        goes_on(run)
        if not died:
            break
    assert number > (10 if doomed == 0 else 0)


def _end(child: int, seconds: float) -> None:
    """As the launcher does: a rank that does not end by itself is killed."""
    deadline = time.monotonic() + seconds
    while not os.waitpid(child, os.WNOHANG)[0]:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return
        time.sleep(0.01)
