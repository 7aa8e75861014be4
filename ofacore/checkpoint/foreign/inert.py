"""Names in a foreign pickle, as data: nothing is imported and nothing is called.

A pickle is a program whose only dangerous instructions are "look up a global" and "call it". Here every lookup gives
an inert class, so that a call makes a record of its arguments. Names that no data needs, such as ``os.system``, are
refused outright, so that a file made to do harm is told from one that is merely unknown.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

DATA_MODULES = frozenset({
    "_codecs", "argparse", "collections", "copyreg", "dataclasses", "datetime", "decimal", "enum", "fractions",
    "pathlib", "types", "typing", "uuid",
})  # fmt: skip
"""Modules of the standard library whose classes hold data."""
PLAIN: Mapping[str, Callable[..., Any]] = {
    **{kind.__name__: kind for kind in (set, frozenset, list, dict, tuple, int, float, str, bool, complex, bytearray)},
    "object": object,
}
"""Builtins that are what they say."""
_DATA_FUNCTIONS = frozenset({
    "collections.defaultdict", "collections.deque", "datetime.date", "datetime.datetime", "datetime.time",
    "datetime.timedelta", "datetime.timezone", "torch.device", "torch.dtype", "numpy.dtype", "numpy.ndarray",
    "numpy.core.multiarray._reconstruct", "numpy.core.multiarray.scalar", "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar", "numpy.random.__RandomState_ctor", "copyreg._reconstructor",
})  # fmt: skip
"""Callables in small letters that rebuild data."""


_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}
"""Names that pickles of old protocols use."""


class ForbiddenGlobal(Exception):
    """A pickle names something that runs code; the message is the global's name."""


class _Called(type):
    """Tells the instruction "call this", which only classes of data may be the subject of, from "make an object"."""

    called = True

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        if not cls.called:
            raise ForbiddenGlobal(cls.kind)  # type: ignore[attr-defined]
        return super().__call__(*arguments, **keywords)


class Record(metaclass=_Called):
    """What an object of an unknown class was made from.

    Attributes:
        kind: Its class, as ``module.name``.
        arguments: Positional arguments that it was made with.
        fields: Its attributes.
    """

    kind = ""
    arguments: tuple[Any, ...]
    fields: dict[str, Any]

    def __new__(cls, *arguments: Any, **keywords: Any) -> Record:
        made = super().__new__(cls)
        made.arguments, made.fields = arguments, dict(keywords)
        return made

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        """Everything is kept by ``__new__``, which unpickling may call alone."""

    def __setstate__(self, state: Any) -> None:
        parts = state if isinstance(state, tuple) else (state,)
        for part in parts:
            if isinstance(part, Mapping):
                self.fields.update({str(key): value for key, value in part.items()})
            elif part is not None:
                self.fields["state"] = part

    def __setitem__(self, key: Any, value: Any) -> None:
        self.fields[str(key)] = value

    def append(self, value: Any) -> None:
        """Keep one element of an unknown list."""
        self.fields.setdefault("elements", []).append(value)

    def extend(self, values: Any) -> None:
        """Keep elements of an unknown list."""
        self.fields.setdefault("elements", []).extend(values)

    def add(self, value: Any) -> None:
        """Keep one element of an unknown set."""
        self.append(value)

    def __hash__(self) -> int:
        return hash((self.kind, len(self.arguments)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and (self.kind, self.arguments, self.fields) == (
            other.kind, other.arguments, other.fields,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<{self.kind}>"


def inert(module: str, name: str) -> Any:
    """What stands for the global ``module.name``.

    Raises:
        ForbiddenGlobal: It belongs to a module that runs code.
    """
    module = _PYTHON_2.get(module, module)
    full = f"{module}.{name}"
    root = module.partition(".")[0]
    if root == "builtins":
        if name not in PLAIN and name != "getattr":
            raise ForbiddenGlobal(full)
        return _attribute if name == "getattr" else PLAIN[name]
    if full == "collections.OrderedDict":
        return OrderedDict
    if full == "_codecs.encode":
        return _encoded
    if root in sys.stdlib_module_names | {"nt", "posix"} and root not in DATA_MODULES:
        raise ForbiddenGlobal(full)
    return _class(full)


def _class(full: str) -> Any:
    """A record class of that name; names in small letters are functions by custom, and are not to be called."""
    last = full.rpartition(".")[2]
    called = last.lstrip("_")[:1].isupper() or full in _DATA_FUNCTIONS
    return _Called(last, (Record,), {"kind": full, "called": called})


def _attribute(owner: Any, name: str) -> Any:
    """Members of unknown enumerations are pickled as an attribute of their class."""
    if isinstance(owner, type) and issubclass(owner, Record):
        return _class(f"{owner.kind}.{name}") if owner.called else owner
    raise ForbiddenGlobal("builtins.getattr")


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    """Bytes, as Python 2's protocols write them."""
    return str(text).encode("latin1" if encoding not in ("latin1", "utf-8", "ascii") else encoding)


def plain(value: Any) -> Any:
    """Records as dictionaries of their attributes, at any depth; enumerations as their values.

    An unknown container of configuration (omegaconf) keeps its content under ``_content`` and each value under
    ``_val``; both are seen through.
    """
    return _plain(value, 0)


def _plain(value: Any, depth: int) -> Any:
    if depth > 40:
        return None
    if isinstance(value, Record):
        return _plain_record(value, depth)
    if isinstance(value, type):
        return getattr(value, "kind", value.__name__)
    if isinstance(value, Mapping):
        return {_key(key): _plain(part, depth + 1) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(part, depth + 1) for part in value]
    return value


def _plain_record(value: Record, depth: int) -> Any:
    for inner in ("_content", "_val"):
        if inner in value.fields:
            return _plain(value.fields[inner], depth + 1)
    if value.fields:
        return {_key(key): _plain(part, depth + 1) for key, part in value.fields.items()}
    if len(value.arguments) == 1:
        return _plain(value.arguments[0], depth + 1)
    return [_plain(part, depth + 1) for part in value.arguments]


def _key(key: Any) -> str:
    return str(_plain(key, 1)) if isinstance(key, Record) else str(key)
