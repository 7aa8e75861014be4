"""Several runs merged into one model: ``ofa merge``, and `merge` in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ofa_merge.merging import MergeReport, merge

__all__ = ["MergeReport", "merge"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'ofa_merge' has no attribute '{name}'")
    from ofa_merge import merging

    return getattr(merging, name)
