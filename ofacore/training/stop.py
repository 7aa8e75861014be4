"""Ending a run from outside: SIGTERM, SIGINT and SIGHUP let the step finish and the state be saved."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from ofacore.ground.machine import known_signals

SIGNALS = known_signals("SIGTERM", "SIGINT", "SIGHUP")
ECHO = 5.0
"""Seconds in which further signals are the same request: a launcher passes on what its processes got, too."""


@dataclass
class StopRequest:
    """Whether, and why, the run is to end after the current step."""

    reason: str = ""

    def __bool__(self) -> bool:
        return bool(self.reason)


@contextmanager
def stop_on_signals(stop: StopRequest, echo: float = 0.0) -> Iterator[StopRequest]:
    """Note `SIGNALS` in ``stop``; a second signal, later than ``echo`` seconds, ends the process as usual.

    Signals can be handled in the main thread only; elsewhere this does nothing. SIGHUP stays ignored where it is, as
    under ``nohup``.
    """
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    before = {n: h for n, h in handlers.items() if n.name != "SIGHUP" or h != signal.SIG_IGN}
    first = 0.0

    def note(number: int, _: FrameType | None) -> None:
        nonlocal first
        if not first:
            first, stop.reason = time.monotonic(), signal.Signals(number).name
        elif time.monotonic() - first > echo:
            for each, handler in before.items():
                signal.signal(each, handler)
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
