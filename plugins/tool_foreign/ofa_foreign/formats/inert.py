"""Names in a foreign pickle, as data: nothing is imported and nothing is called.

A pickle is a program whose only dangerous instructions are "look up a global" and "call it". Here every lookup gives
an inert class, so that a call makes a record of its arguments. Names that no data needs, such as ``os.system``, are
refused outright, so that a file made to do harm is told from one that is merely unknown.
"""

from __future__ import annotations

import builtins
import reprlib
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ofa_foreign.formats.bounds import AmplifiedError, Budget, Metered

DATA_MODULES = frozenset(
    {
        "_codecs",
        "argparse",
        "collections",
        "copyreg",
        "dataclasses",
        "datetime",
        "decimal",
        "enum",
        "fractions",
        "pathlib",
        "types",
        "typing",
        "uuid",
    }
)
"""Modules of the standard library whose classes hold data."""
PLAIN: Mapping[str, Callable[..., Any]] = {
    **{
        kind.__name__: kind
        for kind in (set, frozenset, list, dict, tuple, int, float, str, bool, complex)
    },
    "object": object,
}
"""Builtins that are what they say."""
_RECORDED = frozenset({"slice", "range", "type", "Ellipsis", "NotImplemented"})
"""Builtins of data that nothing here computes with."""
_DATA_FUNCTIONS = frozenset(
    {
        "collections.defaultdict",
        "collections.deque",
        "datetime.date",
        "datetime.datetime",
        "datetime.time",
        "datetime.timedelta",
        "datetime.timezone",
        "torch.device",
        "torch.dtype",
        "numpy.dtype",
        "numpy.ndarray",
        "numpy.core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy.random.__RandomState_ctor",
        "copyreg._reconstructor",
        "numpy.core.numeric._frombuffer",
        "numpy._core.numeric._frombuffer",
        "numpy.random._pickle.__randomstate_ctor",
        "numpy.random._pickle.__generator_ctor",
        "numpy.random._pickle.__bit_generator_ctor",
        "functools.partial",
        "operator.getitem",
        "_operator.getitem",
        "torch.serialization._get_layout",
        "torch.layout",
        *(f"builtins.{name}" for name in _RECORDED),
    }
)
"""Callables in small letters that rebuild data; generic types of settings (``List[float]``) are a `getitem`."""


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
    budget: Budget | None = None
    arguments: tuple[Any, ...]
    fields: dict[str, Any]

    def __new__(cls, *arguments: Any, **keywords: Any) -> Record:
        if cls.budget is not None:
            cls.budget.items(len(arguments))
        made = super().__new__(cls)
        made.arguments, made.fields = arguments, dict(keywords)
        return made

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        """Everything is kept by ``__new__``, which unpickling may call alone."""

    def __setstate__(self, state: Any) -> None:
        parts = state if isinstance(state, tuple) else (state,)
        for part in parts:
            if isinstance(part, Mapping):
                if self.budget is not None:
                    self.budget.items(2 * len(part))
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
            other.kind,
            other.arguments,
            other.fields,
        )

    def __repr__(self) -> str:
        return f"<{self.kind}>"


def inert(module: str, name: str, budget: Budget | None = None) -> Any:
    """What stands for the global ``module.name``, which old protocols spell as Python 2 did.

    Args:
        module: Where it is said to be.
        name: Its name there.
        budget: What copies and records are paid from.

    Raises:
        ForbiddenGlobal: It belongs to a module that runs code.
    """
    if (module, name) in NAME_MAPPING:
        module, name = NAME_MAPPING[module, name]
    module = IMPORT_MAPPING.get(module, module)
    if module == "builtins":
        return _builtin(name, budget)
    full = f"{module}.{name}"
    root = module.partition(".")[0]
    if full == "collections.OrderedDict":
        return OrderedDict if budget is None else Metered(OrderedDict, budget)
    if full == "_codecs.encode":
        return partial(_encoded) if budget is None else Metered(_encoded, budget)
    standard = root in sys.stdlib_module_names | {"nt", "posix"}
    if standard and root not in DATA_MODULES and full not in _DATA_FUNCTIONS:
        raise ForbiddenGlobal(full)
    return _class(full, budget)


def _builtin(name: str, budget: Budget | None) -> Any:
    if name == "getattr":
        return partial(_attribute)
    if name in ("bytes", "bytearray"):
        return partial(_bytes) if budget is None else Metered(_bytes, budget)
    if name in PLAIN:
        return PLAIN[name] if budget is None or name == "object" else Metered(PLAIN[name], budget)
    if name not in _RECORDED and not isinstance(getattr(builtins, name, None), type(BaseException)):
        raise ForbiddenGlobal(f"builtins.{name}")
    return _class(f"builtins.{name}", budget)


def _class(full: str, budget: Budget | None = None) -> Any:
    """A record class of that name; names in small letters are functions by custom, and are not to be called."""
    last = full.rpartition(".")[2]
    called = last.lstrip("_")[:1].isupper() or full in _DATA_FUNCTIONS
    return _Called(last, (Record,), {"kind": full, "called": called, "budget": budget})


def _attribute(owner: Any, name: str) -> Any:
    """Members of unknown enumerations are pickled as an attribute of their class."""
    if isinstance(owner, type) and issubclass(owner, Record):
        return _class(f"{owner.kind}.{name}", owner.budget) if owner.called else owner
    raise ForbiddenGlobal("builtins.getattr")


def _bytes(*arguments: Any) -> bytes:
    """Bytes of bytes, of text and its encoding, or none; never as many as a number says."""
    if not arguments:
        return b""
    if isinstance(arguments[0], bytes):
        return arguments[0]
    return _encoded(*arguments) if isinstance(arguments[0], str) else bytes(list(arguments[0]))


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    """Bytes, as Python 2's protocols write them."""
    known = encoding in ("latin1", "utf-8", "ascii")
    codec = encoding if known else "latin1"
    return str(text).encode(codec)


def plain(value: Any) -> Any:
    """Records as dictionaries of their attributes, at any depth; enumerations as their values.

    An unknown container of configuration (omegaconf) keeps its content under ``_content`` and each value under
    ``_val``; both are seen through.

    Raises:
        AmplifiedError: Written out, it is far too large or too deep for settings.
    """
    return _Plain().of(value)


_DEEPEST = 100
_LARGEST = 2_000_000
"""Values of settings, written out: a dictionary of tokens is the largest part of them."""
_WIDEST = 64
"""Bits of a whole number."""


class _Plain:
    """Translates every object once, however often it occurs; sizes and depths are as if it were written out."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[Any, int]] = {}
        self._depth = 0

    def of(self, value: Any) -> Any:
        """The value as containers, numbers and text; None where it holds itself."""
        return self._sized(value)[0]

    def _sized(self, value: Any) -> tuple[Any, int]:
        if isinstance(value, type | Metered):
            return str(getattr(value, "kind", getattr(value, "__name__", ""))).rpartition(".")[2], 1
        if isinstance(value, int) and value.bit_length() > _WIDEST:
            raise AmplifiedError(f"its settings hold a whole number of {value.bit_length()} bits")
        if not isinstance(value, Record | Mapping | list | tuple | set | frozenset):
            return value, 1
        if id(value) not in self._done:
            self._done[id(value)] = None, 1
            self._done[id(value)] = self._whole(value)
        return self._done[id(value)]

    def _whole(self, value: Any) -> tuple[Any, int]:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise AmplifiedError(f"its settings are nested more than {_DEEPEST} deep")
        found = self._record(value) if isinstance(value, Record) else self._container(value)
        self._depth -= 1
        if found[1] > _LARGEST:
            raise AmplifiedError(f"its settings repeat themselves to more than {_LARGEST} values")
        return found

    def _container(self, value: Any) -> tuple[Any, int]:
        if isinstance(value, Mapping):
            pairs = [(self._key(key), self._sized(part)) for key, part in value.items()]
            return {key: part for key, (part, _) in pairs}, 1 + sum(size for _, (_, size) in pairs)
        parts = [self._sized(part) for part in value]
        return [part for part, _ in parts], 1 + sum(size for _, size in parts)

    def _record(self, value: Record) -> tuple[Any, int]:
        for inner in ("_content", "_val"):
            if inner in value.fields:
                return self._sized(value.fields[inner])
        if value.fields:
            return self._container(value.fields)
        return (
            self._sized(value.arguments[0])
            if len(value.arguments) == 1
            else self._container(value.arguments)
        )

    def _key(self, key: Any) -> str:
        found = self.of(key) if isinstance(key, Record) else key
        return str(found) if isinstance(found, str | int | float | None) else reprlib.repr(found)
