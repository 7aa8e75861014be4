"""One line declares a task; many tasks train one model.

Everything is imported at first use: importing this package loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ofacore.checkpoint.by_name import Weights, read_checkpoint, write_checkpoint
    from ofacore.generalist.facade import Generalist
    from ofacore.setup.task import Task

__version__ = "0.1.0"
__all__ = ["Generalist", "Task", "Weights", "__version__", "read_checkpoint", "write_checkpoint"]

_HOMES = {
    "Generalist": "generalist.facade",
    "Task": "setup.task",
    "Weights": "checkpoint.by_name",
    "read_checkpoint": "checkpoint.by_name",
    "write_checkpoint": "checkpoint.by_name",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ofacore' has no attribute '{name}'")
    return getattr(import_module(f"ofacore.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
