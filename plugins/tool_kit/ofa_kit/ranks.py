"""Runs a function on several processes of one gloo group; the processes stay for the next call."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from ofa_kit.rank_process import Call, Raised, serve
from ofacore.ground.errors import UserError
from ofacore.ground.machine import processors

GRACE = 5.0
"""Seconds that the other ranks get when one has raised."""
LAUNCH = 300.0
"""Seconds that processes get to start; it takes three on an idle machine."""
PATIENCE = 4.0
"""How many times longer ranks may take at most where others use the processors too."""


class RankError(UserError):
    """A function failed on a rank, or a rank did not answer.

    Attributes:
        rank: Number of the rank.
        reason: The traceback on that rank, or what happened to it.
    """

    def __init__(self, rank: int, reason: str) -> None:
        self.rank, self.reason = rank, reason
        super().__init__(rank, reason)

    def __str__(self) -> str:
        return f"rank {self.rank}: {self.reason}"


@dataclass(frozen=True)
class _Rank:
    process: BaseProcess
    connection: Connection


class RankPools:
    """One pool of processes for each number of ranks, started when first needed.

    Args:
        paths: Folders that the processes can import from, besides those of this process.
    """

    def __init__(self, paths: Sequence[str] = ()) -> None:
        self._paths = tuple(paths)
        self._pools: dict[int, RankPool] = {}

    def run(
        self,
        fn: Callable[..., Any],
        world_size: int = 2,
        *args: Any,
        tensor: int = 1,
        timeout: float = 120.0,
    ) -> list[Any]:
        """Results of ``fn(*args)`` on every rank, in rank order.

        Args:
            fn: A function at the top level of a module.
            world_size: Number of ranks, 1 to 4.
            args: Picklable arguments, the same for every rank.
            tensor: How many ranks share every large matrix (tensor parallelism).
            timeout: Seconds; up to four times as many while more processes want to run than there are processors.

        Raises:
            UserError: The function or its arguments cannot be sent to another process.
            RankError: It raised on a rank, or a rank did not answer in time.
        """
        if not 1 <= world_size <= 4 or world_size % tensor:
            raise UserError(
                f"run_distributed: {world_size} ranks with tensor={tensor}: take 1 to 4, a multiple of it"
            )
        call = Call(_pickled(fn, args), (*sys.path, *self._paths), _home(fn), tensor)
        if world_size not in self._pools:
            self._pools[world_size] = RankPool(world_size)
        try:
            return self._pools[world_size].run(call, timeout)
        finally:
            if not self._pools[world_size].usable:
                self._pools.pop(world_size).close()

    def close(self) -> None:
        """End all processes."""
        for pool in self._pools.values():
            pool.close()
        self._pools = {}


class RankPool:
    """Processes of one gloo group."""

    def __init__(self, world_size: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ofa-ranks-")
        self.usable = True
        context = multiprocessing.get_context("spawn")
        self._ranks: list[_Rank] = []
        for rank in range(world_size):
            here, there = context.Pipe()
            arguments = (there, rank, world_size, str(Path(self._folder.name) / "store"))
            process = context.Process(
                target=serve, args=arguments, daemon=True, name=f"rank {rank}"
            )
            process.start()
            there.close()
            self._ranks.append(_Rank(process, here))
        self._started = False

    def run(self, call: Call, timeout: float) -> list[Any]:
        """Results of all ranks; the first error ends the wait for the others, and if they hang, the pool."""
        if not self._started:
            self._answers(LAUNCH)
            self._started = True
        for rank in self._ranks:
            rank.connection.send_bytes(pickle.dumps(call))
        return self._answers(timeout)

    def _answers(self, timeout: float) -> list[Any]:
        results: dict[int, Any] = {}
        failed: RankError | None = None
        timeout *= _slowness()
        deadline = time.monotonic() + timeout
        while len(results) < len(self._ranks):
            ready = self._ready(results, deadline)
            if not ready:
                self.usable = False
                raise failed or self._silent(results, timeout)
            for number in ready:
                results[number] = self._answer(number)
                if isinstance(results[number], Raised) and failed is None:
                    failed = RankError(number, results[number].text)
                    deadline = min(deadline, time.monotonic() + GRACE)
        if failed:
            raise failed
        return [results[number] for number in range(len(self._ranks))]

    def _ready(self, results: dict[int, Any], deadline: float) -> list[int]:
        waiting = {
            rank.connection: number
            for number, rank in enumerate(self._ranks)
            if number not in results
        }
        return [waiting[c] for c in wait(list(waiting), max(0.0, deadline - time.monotonic()))]  # type: ignore[index]

    def _answer(self, number: int) -> Any:
        try:
            return pickle.loads(self._ranks[number].connection.recv_bytes())
        except EOFError:
            self.usable = False
            self._ranks[number].process.join(1.0)
            code = self._ranks[number].process.exitcode
            return Raised(
                f"the process ended with exit code {code}; a function that is run may not call sys.exit"
            )

    def _silent(self, results: dict[int, Any], timeout: float) -> RankError:
        missing = [number for number in range(len(self._ranks)) if number not in results]
        return RankError(
            missing[0],
            f"no answer within {timeout:.3g} s (silent: {missing}); often one rank waits in a collective call that "
            "another rank does not reach: let every rank make the same calls, in the same order",
        )

    def close(self) -> None:
        """End the processes."""
        for rank in self._ranks:
            rank.connection.close()
            rank.process.kill()
            rank.process.join()
        self._folder.cleanup()


def _slowness() -> float:
    """Processes that want to run for each processor, 1 to `PATIENCE`; 1 where the system does not say."""
    try:
        wanting = os.getloadavg()[0]
    except (AttributeError, OSError):
        return 1.0
    return min(max(1.0, wanting / processors()), PATIENCE)


def _pickled(fn: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    name = getattr(fn, "__qualname__", repr(fn))
    if "<" in name:
        raise UserError(
            f"run_distributed: '{name}' cannot be found by another process: write the function at the top level of a "
            "module, not inside a test, and no lambda"
        )
    try:
        return pickle.dumps((fn, args))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        remedy = (
            "use functions and classes at the top level of a module, and plain data as arguments"
        )
        raise UserError(
            f"run_distributed: '{name}' cannot be sent to another process: {error}; {remedy}"
        ) from error


def _home(fn: Callable[..., Any]) -> tuple[str, str]:
    """(module, file) of a function: test modules are often not importable by name."""
    module = getattr(fn, "__module__", "")
    return module, str(getattr(sys.modules.get(module), "__file__", "") or "")
