"""What encoding needs to know of slot types, taken from the registry once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ofacore.ground.errors import UserError
from ofacore.plugin.blame import Blame, Blamed, who
from ofacore.protocols import JointRenderer, Preprocessor, RowContext, RowTransform, SlotPlan

if TYPE_CHECKING:
    from ofacore.plugin import Registry


def elements_of(value: Any, is_element: Callable[[Any], bool]) -> Iterator[Any]:
    """The value, or the values of a list, at any depth; none if it is None."""
    if value is None:
        return
    if is_element(value):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from elements_of(part, is_element)


def shown(
    preprocessor: Preprocessor,
    value: Any,
    is_element: Callable[[Any], bool],
    ctx: RowContext | None,
) -> str:
    """HTML fragment of a slot's value, or of all values of a repeated slot; empty for None."""
    if not is_element(value) and isinstance(preprocessor, JointRenderer):
        return preprocessor.render_all(list(elements_of(value, is_element)), ctx)
    return " ".join(preprocessor.render(part, ctx) for part in elements_of(value, is_element))


def file_slots(slots: Iterable[SlotPlan], registry: Registry) -> tuple[str, ...]:
    """Names of the slots whose values may name files."""
    found = [
        slot.name for slot in slots if slot.plain is None and registry.slot(slot.type).takes_files
    ]
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class SlotKind:
    """One slot type."""

    is_element: Callable[[Any], bool]
    references: tuple[str, ...] = ()
    """Attributes whose value names another slot."""
    row_transform: str = ""
    """Name of its row transform, or empty; types of one modality may share one."""
    sample: Callable[[], Any] | None = None
    """Returns one valid value."""


@dataclass(frozen=True)
class Order:
    """Order of the slots of one template."""

    ranks: Mapping[int, int]
    """Position -> rank: a slot ranks behind every slot that its attributes name."""
    transforms: Mapping[str, Sequence[SlotPlan]]
    """Row transform -> its slots, in the order in which they run."""

    @cached_property
    def is_reading_order(self) -> bool:
        """Whether no slot names another: all have one rank."""
        return len(set(self.ranks.values())) < 2


@dataclass(frozen=True)
class Kinds:
    """All slot types of a task."""

    types: Mapping[str, SlotKind]
    row_transforms: Mapping[str, RowTransform]

    @classmethod
    def of(cls, slots: Iterable[SlotPlan], registry: Registry) -> Kinds:
        """The types that these slots use.

        Raises:
            LoadError: A row transform or sample cannot be imported.
        """
        types: dict[str, SlotKind] = {}
        transforms: dict[str, RowTransform] = {}
        for name in dict.fromkeys(slot.type for slot in slots):
            declared = registry.slot(name)
            target = declared.row_transform or ""
            owner = who(registry, "slot", name)
            if target and target not in transforms:
                options = registry.component("preprocessor", declared.preprocessor).options
                with Blame(owner, "row transform, when it was built"):
                    transforms[target] = registry.resolve(target)(options)
            sample = (
                Blamed(registry.resolve(declared.sample), owner, "sample")
                if declared.sample
                else None
            )
            references = tuple(
                attribute.name for attribute in declared.attributes if attribute.type == "slot"
            )
            types[name] = SlotKind(declared.is_element, references, target, sample)
        return cls(types, transforms)

    @cached_property
    def element_tests(self) -> dict[str, Callable[[Any], bool]]:
        """Slot type -> whether a value is one value of it, not a list."""
        return {name: kind.is_element for name, kind in self.types.items()}

    def order(self, slots: Iterable[SlotPlan]) -> Order:
        """In which order the slots of a template are transformed and encoded.

        Raises:
            UserError: Slots name each other in a circle.
        """
        slots = list(slots)
        ranks = self.ranks(slots)
        transforms: dict[str, list[SlotPlan]] = {}
        for slot in sorted(slots, key=lambda slot: (ranks[slot.position], slot.position)):
            name = self.types[slot.type].row_transform if slot.plain is None else ""
            if name:
                transforms.setdefault(name, []).append(slot)
        return Order(ranks, transforms)

    def ranks(self, slots: Iterable[SlotPlan]) -> dict[int, int]:
        """Position -> rank: a slot ranks behind every slot that its attributes name."""
        slots = list(slots)
        needs = {slot.name: set[str]() for slot in slots}
        for slot in slots:
            needs[slot.name] |= self._referenced(slot) & needs.keys() - {slot.name}
        ranks: dict[str, int] = {}
        while len(ranks) < len(needs):
            ready = [name for name in needs if name not in ranks and needs[name] <= ranks.keys()]
            if not ready:
                circle = ", ".join(sorted(needs.keys() - ranks.keys()))
                raise UserError(
                    f"slots name each other in a circle: {circle}; remove one of these attributes"
                )
            level = len(set(ranks.values()))
            ranks |= dict.fromkeys(ready, level)
        return {slot.position: ranks[slot.name] for slot in slots}

    def _referenced(self, slot: SlotPlan) -> set[str]:
        if slot.plain is not None:
            return set()
        return {
            str(slot.attributes[key])
            for key in self.types[slot.type].references
            if slot.attributes.get(key)
        }
