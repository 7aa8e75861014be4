"""How much memory reading a stranger's file may take: a small multiple of the file's own size."""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO

MULTIPLE = 8
FLOOR = 2**26
"""Bytes that any file may take, so that small ones need no counting."""
_SHORT = 128
"""What an object of Python takes at least, roughly."""
_ITEM = 8
_MAKERS = frozenset(
    {
        "EMPTY_DICT",
        "DICT",
        "EMPTY_LIST",
        "LIST",
        "EMPTY_SET",
        "FROZENSET",
        "TUPLE",
        "TUPLE1",
        "TUPLE2",
        "TUPLE3",
        "REDUCE",
        "NEWOBJ",
        "NEWOBJ_EX",
        "INST",
        "OBJ",
        "BUILD",
    }
)
"""Instructions of a pickle that make an object of one byte."""
_STORES = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})


class AmplifiedError(ValueError):
    """A small file asks for far more memory than its size."""


class Budget:
    """Memory that is left to a file; what reads it spends from it before anything is made.

    Args:
        size: Of the file, in bytes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.left = MULTIPLE * size + FLOOR

    def spend(self, amount: int) -> None:
        """Take some bytes.

        Raises:
            AmplifiedError: So many are not left.
        """
        self.left -= amount
        if self.left < 0:
            raise AmplifiedError(
                f"a file of {self.size} bytes asks for more than {MULTIPLE} times its size"
            )

    def items(self, number: int) -> None:
        """Take what a container of so many elements needs."""
        self.spend(_SHORT + _ITEM * number)


class Metered:
    """A builtin that a pickle may call, whose copies are paid for.

    Attributes:
        kind: Name of what it stands for.
    """

    def __init__(self, make: Callable[..., Any], budget: Budget) -> None:
        self.make, self.budget, self.kind = make, budget, getattr(make, "__name__", "object")

    def __call__(self, *arguments: Any) -> Any:
        """Call it.

        Raises:
            AmplifiedError: The copy is too large.
            TypeError: An argument is neither plain nor a plain container.
        """
        for part in arguments:
            if isinstance(part, str | bytes | bytearray | list | tuple | dict | set | frozenset):
                self.budget.items(len(part))
            elif not isinstance(part, int | float | complex | None):
                raise TypeError(f"{self.kind} of a {type(part).__name__}")
        if self.make is str and not all(isinstance(part, str | bytes) for part in arguments):
            raise TypeError("text of what is no text")
        return self.make(*arguments)


def check_pickle(file: BinaryIO, budget: Budget) -> None:
    """Read the instructions of one pickle, and go back to its beginning.

    Raises:
        AmplifiedError: They store objects in places that no writer would use, or make far too many.
        ValueError: It is damaged.
    """
    start = file.tell()
    stored = 0
    for operation, argument, _ in pickletools.genops(file):
        if operation.name in _MAKERS:
            budget.spend(_SHORT)
        if operation.name in _STORES:
            stored += 1
            if argument is not None and int(argument) > budget.size:
                raise AmplifiedError(f"a pickle of {stored} stored objects numbers one {argument}")
    file.seek(start)
