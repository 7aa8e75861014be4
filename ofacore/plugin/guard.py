"""Importing or building a component leaves the process as it was: what it changes for everybody is undone, and told.

Only what can be put back is looked at here; ``ofa plugins check --imports`` finds more.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ofacore.ground.errors import UserError
from ofacore.plugin.blame import Blame
from ofacore.plugin.plugin_errors import PluginError

_WHEN = "when it was built"
_LOG = logging.getLogger(__name__)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_DTYPE = "the default dtype of torch"
_TORCH_DEFAULTS = {
    _DTYPE: "float32",
    "gradients of torch": True,
    "the default device of torch": "cpu",
    "the deterministic mode of torch": (False, False),
}
"""What holds where torch is imported by the component itself."""


@contextmanager
def guarded(target: str, owner: str) -> Iterator[None]:
    """Put back what is changed inside, and name who changed it; nothing where the module was imported before.

    Args:
        target: ``"module:Object"`` that is imported inside.
        owner: Whose it is, in words.
    """
    if target.partition(":")[0] in sys.modules:
        yield
        return
    with _unchanged(f"importing '{target}' of {owner}", seeds=True):
        yield


@contextmanager
def built_by(owner: str) -> Iterator[None]:
    """Around the constructor of a component: as `guarded`, and what it raises tells whose it is.

    It may draw random numbers: seeds are its caller's matter.

    Args:
        owner: The component and its plugin, in words.

    Raises:
        PluginError: In place of a `ValueError`: a constructor is given options, and one of them is wrong.
    """
    with Blame(owner, _WHEN), _unchanged(f"building {owner}", seeds=False):
        try:
            yield
        except UserError:
            raise
        except ValueError as error:
            raise PluginError(f"{error} ({owner}, {_WHEN})") from error


@contextmanager
def _unchanged(what: str, seeds: bool) -> Iterator[None]:
    before = _readings(seeds)
    filters = list(warnings.filters)
    try:
        yield
    finally:
        changed = _put_back(before, seeds) + _put_back_filters(filters)
        if changed:
            _LOG.warning("%s changed %s for everybody: this is undone", what, ", ".join(changed))


def _readings(seeds: bool) -> dict[str, Any]:
    return {name: read() for name, (read, _) in _states(seeds).items()}


def _put_back(before: dict[str, Any], seeds: bool) -> list[str]:
    """Names of the states that differed."""
    changed = []
    for name, (read, write) in _states(seeds).items():
        wanted = before.get(name)
        if name not in before and name in _TORCH_DEFAULTS:
            wanted = _torch_default(name)
        if wanted is not None and not _same(read(), wanted):
            write(wanted)
            changed.append(name)
    return changed


def _torch_default(name: str) -> Any:
    value = _TORCH_DEFAULTS[name]
    return getattr(sys.modules["torch"], str(value)) if name == _DTYPE else value


def _same(one: Any, other: Any) -> bool:
    return bool(one.equal(other)) if hasattr(one, "equal") else bool(one == other)


def _states(seeds: bool) -> dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """Name -> how a state is read and put back. Libraries that are not imported have none."""
    states: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
        "the working directory": (os.getcwd, os.chdir),
    }
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            states[f"the handler of {number.name}"] = (_handler(number), _handle(number))
    torch: Any = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_default_device"):
        states[_DTYPE] = (torch.get_default_dtype, torch.set_default_dtype)
        states["gradients of torch"] = (torch.is_grad_enabled, torch.set_grad_enabled)
        states["the number of threads of torch"] = (torch.get_num_threads, torch.set_num_threads)
        states["the default device of torch"] = (
            lambda: str(torch.get_default_device()),
            _set_device,
        )
        states["the deterministic mode of torch"] = (_determinism, _set_determinism)
    return {**states, **_seeds()} if seeds else states


def _seeds() -> dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]]:
    found: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
        "the seed of random": (random.getstate, random.setstate),
    }
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and hasattr(numpy, "random"):
        found["the seed of numpy"] = (lambda: _NumpyState(numpy.random.get_state()), _seed_numpy)
    torch: Any = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_default_device"):
        found["the seed of torch"] = (torch.get_rng_state, torch.set_rng_state)
    return found


def _set_device(device: str) -> None:
    """None takes away what makes tensors elsewhere, which costs time in every call."""
    chosen = None if device == "cpu" else device
    sys.modules["torch"].set_default_device(chosen)


def _determinism() -> tuple[bool, bool]:
    """Whether operations must be deterministic, and whether others only warn."""
    torch = sys.modules["torch"]
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _set_determinism(mode: tuple[bool, bool]) -> None:
    sys.modules["torch"].use_deterministic_algorithms(mode[0], warn_only=mode[1])


class _NumpyState:
    """The state of numpy's global generator, which holds an array and so has no plain equality."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def equal(self, other: _NumpyState) -> bool:
        """Whether both would draw the same."""
        return repr(self.state) == repr(other.state) and bool(
            (self.state[1] == other.state[1]).all()
        )


def _seed_numpy(kept: _NumpyState) -> None:
    sys.modules["numpy"].random.set_state(kept.state)


def _handler(number: signal.Signals) -> Callable[[], Any]:
    return lambda: signal.getsignal(number)


def _handle(number: signal.Signals) -> Callable[[Any], Any]:
    return lambda handler: signal.signal(number, handler)


def _put_back_filters(before: list[Any]) -> list[str]:
    """Take out new filters of warnings that concern everybody's; those of one library or message are its own matter."""
    new = [found for found in warnings.filters if found not in before]
    sweeping = [
        found
        for found in new
        if found[1] is None and found[3] is None and found[2].__module__ == "builtins"
    ]
    lost = [found for found in before if found not in warnings.filters]
    if not sweeping and not lost:
        return []
    kept = [found for found in new if found not in sweeping]
    warnings.filters[:] = [*kept, *before]  # type: ignore[index]
    warnings._filters_mutated()  # type: ignore[attr-defined]
    return ["the filters of warnings"]
