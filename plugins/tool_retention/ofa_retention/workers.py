"""Several models at a time, each in a process of its own. Whatever ends this process, a training is saved first."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import NoReturn

import torch

from ofa_retention.trainings import Training
from ofa_retention.working import work
from ofacore.ground.machine import processors
from ofacore.plugin import UserError


def work_through(trainings: Sequence[Training], jobs: int) -> Iterator[Training]:
    """Train and score, up to ``jobs`` at a time, in any order; yields what is done.

    Raises:
        UserError: A model cannot be trained; what is done stays.
        SystemExit: A signal ended a training, after it was saved.
    """
    if jobs == 1:
        for training in trainings:
            work(training)
            yield training
        return
    pool = ProcessPoolExecutor(
        jobs, get_context("spawn"), initializer=_begin_worker, initargs=(share_of(jobs),)
    )
    with _told_by_exception(), pool:
        waiting = {pool.submit(_work, training): training for training in trainings}
        try:
            for done in as_completed(waiting):
                done.result()
                yield waiting[done]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def share_of(jobs: int) -> int:
    """Threads of each of so many workers: together as many as there are processors for this process."""
    return max(1, processors() // jobs)


@contextmanager
def _told_by_exception() -> Iterator[None]:
    """SIGTERM reaches the workers too, and ends the block like an error; a terminal sends SIGINT to all by itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def pass_on(number: int, _: object) -> NoReturn:
        signal.signal(signal.SIGTERM, before)
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _begin_worker(threads: int) -> None:
    """A share of the cores; and no worker outlives the process that started it, which would keep its folder claimed."""
    torch.set_num_threads(threads)
    parent = parent_process()
    assert parent is not None  # this is a process of a pool

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _work(training: Training) -> None:
    """In a worker: a training that a signal ended is saved by now, and there may be nobody left to tell."""
    try:
        work(training)
    except SystemExit as ended:
        parent = parent_process()
        if parent is not None and not parent.is_alive():
            os._exit(int(ended.code or 0))
        raise
    except Exception as error:
        raise _portable(error) from error


def _portable(error: Exception) -> Exception:
    """The error as another process can read it: its text alone, where its class is made of other things."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        portable: Exception = RuntimeError(f"{type(error).__name__}: {error}")
        if isinstance(error, UserError):
            portable = UserError(str(error))
        for note in getattr(error, "__notes__", ()):
            portable.add_note(note)
        return portable
    return error
