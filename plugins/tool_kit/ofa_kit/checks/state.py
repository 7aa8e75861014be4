"""State of a process that belongs to everyone: what an import must leave as it is."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

REMEDIES = {
    "the seed of random": "draw from a generator that is handed over, or from random.Random(seed)",
    "the seed of numpy": "use numpy.random.default_rng(seed), never numpy.random.seed",
    "the seed of torch": "use torch.Generator().manual_seed(seed), never torch.manual_seed",
    "the default dtype of torch": "give dtype= where tensors are made",
    "the default device of torch": "give device= where tensors are made",
    "gradients of torch": "use torch.no_grad() around the code that needs it",
    "deterministic algorithms of torch": "leave it to the run",
    "the number of threads of torch": "leave it to the run",
    "the configuration of logging": "use logging.getLogger(__name__) and configure nothing",
    "the filters of warnings": "use warnings.catch_warnings() around the call that warns",
    "the working directory": "use absolute paths, such as importlib.resources.files(__package__)",
    "sys.path": "install the package instead",
    "sys.stdout": "print nothing at import",
    "sys.stderr": "print nothing at import",
    "sys.excepthook": "leave it to the program",
    "the handlers of signals": "leave them to the run",
    "the threads that keep the process alive": "start none at import, or daemon ones",
}
"""State -> what a plugin does instead of changing it."""
_ENVIRONMENT = "pass settings as arguments; the environment belongs to the user"
_HANDLED = (signal.SIGINT, signal.SIGTERM)


def remedy_of(state: str) -> str:
    """What to do instead of changing it."""
    return REMEDIES.get(state, _ENVIRONMENT)


def snapshot() -> dict[str, Any]:
    """State by name; values are compared and not shown, but for those of the environment."""
    return {
        "the seed of random": _digest(random.getstate()),
        "the configuration of logging": _logging(),
        "the filters of warnings": tuple(map(repr, warnings.filters)),
        "the working directory": os.getcwd(),
        "sys.path": tuple(sys.path),
        "sys.stdout": id(sys.stdout),
        "sys.stderr": id(sys.stderr),
        "sys.excepthook": id(sys.excepthook),
        "the handlers of signals": tuple(repr(signal.getsignal(number)) for number in _HANDLED),
        "the threads that keep the process alive": tuple(
            t.name for t in threading.enumerate() if not t.daemon
        ),
        **{f"the environment variable {name}": value for name, value in os.environ.items()},
        **_numpy(),
        **_torch(),
    }


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Names of state that differs. What a library brought that was imported in between is no change."""
    known = before.keys() & after.keys()
    found = [name for name in known if before[name] != after[name]]
    variables = {
        name for name in before.keys() ^ after.keys() if name.startswith("the environment variable")
    }
    return sorted({*found, *variables})


def _numpy() -> dict[str, Any]:
    numpy: Any = sys.modules.get("numpy")
    return {"the seed of numpy": _digest(numpy.random.get_state())} if numpy else {}


def _torch() -> dict[str, Any]:
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_default_device"):
        return {}
    readers: dict[str, Callable[[], Any]] = {
        "the seed of torch": lambda: hashlib.sha256(
            torch.get_rng_state().numpy().tobytes()
        ).hexdigest(),
        "the default dtype of torch": lambda: str(torch.get_default_dtype()),
        "the default device of torch": lambda: str(torch.get_default_device()),
        "gradients of torch": torch.is_grad_enabled,
        "deterministic algorithms of torch": torch.are_deterministic_algorithms_enabled,
        "the number of threads of torch": torch.get_num_threads,
    }
    return {name: read() for name, read in readers.items()}


def _logging() -> tuple[Any, ...]:
    root = logging.getLogger()
    return root.level, root.disabled, tuple(map(repr, root.handlers)), logging.root.manager.disable


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()
