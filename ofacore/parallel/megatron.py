"""The one place that imports megatron-core: late (it costs seconds), quietly, and in the version that we know."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from types import ModuleType
from typing import Any

import torch

MEGATRON_VERSION = "0.16.1"

_KNOWN_WARNINGS = (
    r"Transformer Engine and Apex are not installed",
    r"Apex is not installed",
    r"The following imports from `dynamic_context.py`",
    r".*is experimental",
    r".*deprecated",
)


class MegatronVersionError(ImportError):
    """The installed megatron-core is not the one that the stand-in for CUDA was written for."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"megatron-core {found} is installed, but ofacore works with {MEGATRON_VERSION} exactly: "
            f"pip install megatron-core=={MEGATRON_VERSION}"
        )


@cache
def megatron(module: str) -> ModuleType:
    """Import ``megatron.core.<module>`` without its warnings about optional accelerators.

    Raises:
        MegatronVersionError: Another version is installed.
    """
    found = version("megatron-core")
    if found != MEGATRON_VERSION:
        raise MegatronVersionError(found)
    extension_log = logging.getLogger("torch.utils.cpp_extension")
    level = extension_log.level
    with warnings.catch_warnings(), _nothing_compiled():
        for message in _KNOWN_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        extension_log.setLevel(logging.ERROR)
        try:
            return importlib.import_module(f"megatron.core.{module}")
        finally:
            extension_log.setLevel(level)


@contextmanager
def _nothing_compiled() -> Iterator[None]:
    """Without CUDA, functions that megatron-core compiles at import stay as they are: importing the compiler takes over
    a second of every start, and none of them is called then."""
    compiling = torch.compile
    if not torch.cuda.is_available():
        torch.compile = _as_it_is  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.compile = compiling


def _as_it_is(function: Any = None, **_: Any) -> Any:
    return _as_it_is if function is None else function
