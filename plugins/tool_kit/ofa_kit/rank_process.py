"""What runs in the processes of `run_distributed`."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import sys
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

READY = "ready"
"""First message of every process, sent when its groups are there."""


@dataclass(frozen=True)
class Call:
    """A function to run."""

    function: bytes
    """Pickled (function, arguments)."""
    paths: tuple[str, ...]
    """Folders to import from."""
    home: tuple[str, str]
    """Module of the function and its file."""
    tensor: int


@dataclass(frozen=True)
class Raised:
    """In place of a result."""

    text: str
    """The traceback."""


def serve(connection: Connection, rank: int, world_size: int, store: str) -> None:
    """Run what is sent until the connection ends."""
    import torch

    torch.set_num_threads(1)
    groups = _Groups(rank, world_size, store)
    groups.start(1)
    connection.send_bytes(pickle.dumps(READY))
    while True:
        try:
            call: Call = pickle.loads(connection.recv_bytes())
        except EOFError:
            groups.stop()
            return
        connection.send_bytes(_run(call, groups))


def _run(call: Call, groups: _Groups) -> bytes:
    try:
        sys.path.extend(path for path in call.paths if path not in sys.path)
        importlib.invalidate_caches()
        _ensure_module(*call.home)
        groups.start(call.tensor)
        function, arguments = pickle.loads(call.function)
        return pickle.dumps(function(*arguments))
    except Exception as error:
        return pickle.dumps(Raised(f"{type(error).__name__}: {error}\n{traceback.format_exc()}"))


class _Groups:
    """The process groups of this rank."""

    def __init__(self, rank: int, world_size: int, store: str) -> None:
        self._rank, self._world_size, self._store = rank, world_size, store
        self._tensor = self._number = 0

    def start(self, tensor: int) -> None:
        """Make the groups for this size of tensor parallelism, unless they are there.

        Without tensor parallelism there is the gloo group alone, of which parallel layers make theirs when first used:
        the library behind them takes seconds to import.
        """
        import torch.distributed as dist

        if tensor == self._tensor:
            return
        self.stop()
        self._number += 1
        store = dist.FileStore(f"{self._store}-{self._number}", self._world_size)
        dist.init_process_group("gloo", store=store, rank=self._rank, world_size=self._world_size)
        if tensor > 1:
            from ofacore.parallel import process_groups as groups
            from ofacore.parallel.process_grid import ProcessGrid

            groups.start(ProcessGrid(self._world_size, tensor=tensor))
        self._tensor = tensor

    def stop(self) -> None:
        """Release the groups."""
        if self._tensor:
            from ofacore.parallel import process_groups as groups

            groups.stop()
        self._tensor = 0


def _ensure_module(name: str, file: str) -> None:
    """Make a module importable under its name, from its file where the path does not lead to it."""
    if name in sys.modules or not file:
        return
    try:
        importlib.import_module(name)
    except ImportError:
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise
        module: Any = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
