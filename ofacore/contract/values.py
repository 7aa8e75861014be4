"""Values of a row as slots hold them: what a slot is, what slots publish to one another, which value is refused."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from ofacore.plugin.manifest import Side

Split = Literal["train", "valid", "test", "infer"]
Options = Mapping[str, Any]


class RowError(ValueError):
    """A value that cannot be used: names the column, what is wrong, and what would be right.

    Core code adds the task and the row number. A preprocessor raises it for bad values and nothing else.
    """


class RedrawError(RowError):
    """A random change of training, such as a crop, left a value unusable: the changes of the row are drawn again.

    A row transform raises it while ``RowContext.held_back`` is below 1.
    """


@dataclass(frozen=True)
class SlotPlan:
    """One slot of a validated instruction, with everything that was decided about it."""

    name: str
    """Column that the value comes from."""
    type: str
    side: Side
    position: int
    """Pre-order number in the unexpanded template, plain text counted."""
    preprocessor: str
    adapter: str
    attributes: Options = field(default_factory=dict)
    """Typed values, defaults filled in."""
    head: str = ""
    criterion: str = ""
    generator: str = ""
    corruption: str = ""
    loss: bool = False
    """A target slot whose positions are learned."""
    plain: str | None = None
    """The fixed text of plain text; None for a slot."""
    repeat: tuple[str, ...] = ()
    """Columns of the repeat that holds the slot, its own included; a row transform drops the same place from each."""


PublishedT = TypeVar("PublishedT")


class Published(MutableMapping[str, Any]):
    """What the slots of one row tell one another, such as how a value was cut: objects of documented types.

    A preprocessor or row transform publishes an instance of a frozen dataclass under the name of its slot; whoever
    knows the dataclass asks for it. Types that several plugins know live where all of them can import them:
    `ofacore.parts.PlaneView` says what the model sees of a value that lies on a plane.

    Example:
        >>> @dataclass(frozen=True)
        ... class Rate:
        ...     hertz: float
        >>> published = Published()
        >>> published.put("sound", Rate(50.0))
        >>> published.one("sound", Rate).hertz
        50.0

    The use as a dict, slot name -> anything, is deprecated. A dict that is published that way is found by every type
    whose fields are among its keys.
    """

    def __init__(self, given: Mapping[str, Any] | None = None) -> None:
        self._typed: dict[str, dict[type, tuple[Any, ...]]] = {}
        self._plain: dict[str, Any] = {}
        for slot, value in (given or {}).items():
            self[slot] = value

    def put(self, slot: str, *values: Any) -> None:
        """Publish a value; one for each element where the slot's column is a list. It replaces those of its type.

        Raises:
            TypeError: A value is no instance of a frozen dataclass, or they are of several types.
        """
        kinds = {type(value) for value in values}
        for kind in kinds:
            frozen = is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
            if not frozen:
                remedy = "make it a frozen dataclass with documented fields"
                raise TypeError(f"slot '{slot}' publishes a {kind.__name__}: {remedy}")
        if len(kinds) > 1:
            names = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise TypeError(f"slot '{slot}' publishes {names} together: publish one type at a time")
        for kind in kinds:
            self._typed.setdefault(slot, {})[kind] = values

    def all(self, slot: str, kind: type[PublishedT]) -> tuple[PublishedT, ...]:
        """Everything of a type that a slot published, in order; empty where it published none."""
        for values in self._typed.get(slot, {}).values():
            if isinstance(values[0], kind):
                return values
        return tuple(_as_kind(self._plain.get(slot), kind))

    def find(self, slot: str, kind: type[PublishedT]) -> PublishedT | None:
        """The one object of a type that a slot published; None where it published none or several."""
        found = self.all(slot, kind)
        return found[0] if len(found) == 1 else None

    def one(self, slot: str, kind: type[PublishedT]) -> PublishedT:
        """The one object of a type that a slot published.

        Raises:
            RowError: It published none, or several; tells what there is.
        """
        found = self.all(slot, kind)
        if len(found) == 1:
            return found[0]
        if found:
            raise RowError(
                f"slot '{slot}' publishes {len(found)} times {kind.__name__}, where one is needed"
            )
        raise RowError(f"slot '{slot}' publishes no {kind.__name__}; in this row {self._told()}")

    def of(self, kind: type[PublishedT]) -> dict[str, tuple[PublishedT, ...]]:
        """Slot -> everything of a type that it published, for slots that did; in the order in which they did."""
        found = {slot: self.all(slot, kind) for slot in dict.fromkeys([*self._typed, *self._plain])}
        return {slot: values for slot, values in found.items() if values}

    def copy(self) -> Published:
        """The same; what is published in it leaves no trace here."""
        twin = Published()
        twin._typed = {slot: dict(kinds) for slot, kinds in self._typed.items()}
        twin._plain = dict(self._plain)
        return twin

    def _told(self) -> str:
        told = []
        for slot, kinds in self._typed.items():
            told.append(f"'{slot}' publishes {', '.join(kind.__name__ for kind in kinds)}")
        told += [
            f"'{slot}' publishes a {type(value).__name__}" for slot, value in self._plain.items()
        ]
        return "; ".join(told) or "no slot publishes anything"

    def __getitem__(self, slot: str) -> Any:
        _warn_of_dict()
        if slot in self._plain:
            return self._plain[slot]
        for values in self._typed[slot].values():
            shown = [_as_dict(value) for value in values]
            return shown[0] if len(shown) == 1 else shown
        raise KeyError(slot)

    def __setitem__(self, slot: str, value: Any) -> None:
        if is_dataclass(type(value)):
            self.put(slot, value)
            return
        _warn_of_dict()
        self._plain[slot] = value

    def __contains__(self, slot: object) -> bool:
        return slot in self._typed or slot in self._plain

    def __delitem__(self, slot: str) -> None:
        self._plain.pop(slot, None)
        self._typed.pop(slot, None)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._typed, *self._plain]))

    def __len__(self) -> int:
        return len(self._typed.keys() | self._plain.keys())


def _as_kind(value: Any, kind: type[PublishedT]) -> Iterator[PublishedT]:
    """Objects of a type, from what was published as a dict or a list of dicts."""
    if isinstance(value, list | tuple):
        for part in value:
            yield from _as_kind(part, kind)
    elif isinstance(value, kind):
        yield value
    elif isinstance(value, Mapping) and is_dataclass(kind):
        known = fields(kind)
        needed = {
            entry.name
            for entry in known
            if entry.default is MISSING and entry.default_factory is MISSING
        }
        if needed <= value.keys():
            yield kind(**{entry.name: value[entry.name] for entry in known if entry.name in value})


def _as_dict(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _warn_of_dict() -> None:
    """The use of `Published` as a dict goes with the next major contract."""
    told = "published as a dict is deprecated: ctx.published.put(slot, value) and ctx.published.one(slot, Type)"
    warnings.warn(told, DeprecationWarning, stacklevel=3)


@dataclass
class RowContext:
    """What surrounds one value while its row is encoded; kept for decoding, metrics and pictures."""

    row: Mapping[str, Any]
    task: str
    split: Split
    rng: np.random.Generator
    """Seeded by (run seed, task, epoch, item): the only source of randomness for this row."""
    published: Published = field(default_factory=Published)
    """What preprocessors and row transforms of this row tell one another."""
    closed_sets: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Slot name -> allowed values, for slots with ``closed_set``."""
    options: Mapping[str, Options] = field(default_factory=dict)
    """Preprocessor -> its options as the model has them, for row transforms: these are built once, of its type."""
    held_back: float = 0.0
    """How far random changes that may leave a value unusable are held back, 0 to 1: at 1 nothing is changed.

    It grows each time that they are drawn again; see `RedrawError`.
    """

    def __post_init__(self) -> None:
        if not isinstance(self.published, Published):
            self.published = Published(self.published)
