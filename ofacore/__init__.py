"""One line declares a task; many tasks train one model.

``Generalist`` and ``Task`` are imported at first use: importing this package loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ofacore.generalist import Generalist
    from ofacore.task import Task

__version__ = "0.1.0"
__all__ = ["Generalist", "Task", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Generalist":
        from ofacore.generalist import Generalist

        return Generalist
    if name == "Task":
        from ofacore.task import Task

        return Task
    raise AttributeError(f"module 'ofacore' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
