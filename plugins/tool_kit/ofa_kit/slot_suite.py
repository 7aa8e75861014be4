"""Settings of the suites that test around a slot type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from ofa_kit.bench import SlotBench
from ofa_kit.compare import difference
from ofa_kit.suite import Suite
from ofacore.evaluation.references import faultless
from ofacore.plugin import ModalityManifest, SlotType
from ofacore.protocols import Segment


class SlotSuite(Suite):
    """Base of the suites around a slot type.

    Attributes:
        slot: Slot type under test. Default: the first of the manifest.
        values: Values to encode, best of different lengths. Default: the manifest's sample value.
        bad_values: Values that must be refused with a `RowError`. Default: an `object`.
        tolerance: Largest difference of a number after encode and decode, in the caller's units. Default: 1e-3.
        attributes: Attributes written in the slot, as ``"max_length=20,uncased"``. Default: none.
        target_attributes: Those written besides where the slot is a target, as ``"corruption=masked"``. Default: none.
        context: What stands before the slot in the source, as ``"[OTHER:x]"``. Default: nothing.
        row: Values of the columns that ``context`` reads.
        model: Keys of the model section of a configuration. Default: a model of one layer, 32 wide.
    """

    slot: ClassVar[str] = ""
    values: ClassVar[Sequence[Any]] = ()
    bad_values: ClassVar[Sequence[Any]] = (object(),)
    tolerance: ClassVar[float] = 1e-3
    attributes: ClassVar[str] = ""
    target_attributes: ClassVar[str] = ""
    context: ClassVar[str] = ""
    row: ClassVar[Mapping[str, Any]] = {}
    model: ClassVar[Mapping[str, Any]] = {}

    def compare(self, given: Any, decoded: Any) -> str:
        """What tells a decoded value from the one that was encoded; empty where they agree.

        The default compares numbers, texts, arrays, lists, dicts and dataclasses within ``tolerance``. Override it for
        values of a type of your own, or where decoding loses something on purpose.
        """
        return difference(given, decoded, self.tolerance)

    def hypothesis(self, segments: Sequence[Segment]) -> np.ndarray:
        """What a perfect generator would produce for these segments of a target.

        The default takes the ids of tokens; of dense segments the one array of real numbers among the labels, or,
        without labels, among the features. Override it where there are several.
        """
        found = faultless(segments)
        if found is None:
            pytest.fail(
                "which of the arrays is the value? Override hypothesis(self, segments) in your suite and return what a "
                "perfect generator would produce",
                pytrace=False,
            )
        return found

    def model_keys(self) -> Mapping[str, Any]:
        """Keys of the model section, those of the suite's own settings included."""
        return self.model

    def slot_type(self) -> SlotType:
        """The slot type under test."""
        slots = {slot.name: slot for slot in getattr(self.manifest(), "slots", ())}
        name = self.slot or next(iter(slots), "")
        if name in slots:
            return slots[name]
        registry = self.closed_registry()
        if not name or name not in registry.names("slot"):
            known = ", ".join([*slots, *registry.names("slot")])
            pytest.fail(
                f"{type(self).__name__}: set slot = one of {known}; '{name}' is none of them",
                pytrace=False,
            )
        return registry.slot(name)

    def given_values(self) -> list[Any]:
        """Values to encode."""
        if len(self.values):
            return list(self.values)
        slot = self.slot_type()
        if not slot.sample:
            pytest.fail(
                f"{slot.name} has no sample value: give "
                "SlotType(sample='your_package.sample:function'), a function that returns one "
                f"valid value, or set values = [...] in {type(self).__name__}",
                pytrace=False,
            )
        return [self.closed_registry().resolve(slot.sample)()]

    def bench(self) -> SlotBench:
        """Assembly and model around the slot."""
        return SlotBench(self)

    def is_modality(self) -> bool:
        """Whether the manifest brings slot types."""
        return isinstance(self.manifest(), ModalityManifest)
