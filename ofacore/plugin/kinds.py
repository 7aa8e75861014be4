"""The kinds of components that the core itself knows; plugins declare others in their manifests, with `Kind`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ofacore.plugin.manifest import Kind


def _by_name(kinds: Iterable[Kind]) -> Mapping[str, Kind]:
    return MappingProxyType({kind.name: kind for kind in kinds})


CORE_KINDS: Mapping[str, Kind] = _by_name(
    (
        Kind(
            "preprocessor",
            "ofacore.protocols:Preprocessor",
            "Turns a value into segments, and a generated hypothesis back into a value.",
        ),
        Kind("adapter", "ofacore.protocols:Adapter", "Embeds the features of its segments."),
        Kind("head", "ofacore.protocols:Head", "From hidden states to a prediction."),
        Kind("criterion", "ofacore.protocols:Criterion", "The loss of a prediction."),
        Kind("generator", "ofacore.protocols:Generator", "Produces the values of a target slot."),
        Kind("metric", "ofacore.protocols:Metric", "Scores answers against references."),
        Kind(
            "baseline",
            "ofacore.protocols:Baseline",
            "A quick method that a score is compared with.",
        ),
        Kind(
            "schedule", "ofacore.protocols:Schedule", "How many samples of each task a step holds."
        ),
        Kind(
            "aggregator",
            "ofacore.protocols:Aggregator",
            "Makes the gradient of a step from those of its tasks.",
        ),
        Kind("router", "ofacore.protocols:Router", "Chooses feed-forward experts by position."),
        Kind(
            "corruption", "ofacore.protocols:Corruption", "Makes noise of a target, for training."
        ),
        Kind(
            "backbone", "ofacore.protocols:Backbone", "The transformer between adapters and heads."
        ),
        Kind("tracker", "ofacore.protocols:Tracker", "Receives metrics while a run goes on."),
        Kind(
            "transform",
            "",
            "Changes the values of a column: a function, or a class made with its options.",
        ),
        Kind(
            "positions", "ofacore.protocols:Positions", "How attention knows where positions stand."
        ),
        Kind(
            "positions_cost",
            "ofacore.protocols:PositionsCost",
            "What the position scheme of that name costs, for plans of layouts.",
        ),
        Kind(
            "row_transform",
            "ofacore.protocols:WholeRowTransform",
            "Changes the rows of a task, all slots together, and knows how long they become.",
        ),
        Kind(
            "dataset",
            "",
            "Items that several task families draw from, and the rule that splits them.",
        ),
    )
)
"""Name -> kind. A kind without a protocol is a function or a module whose form its page of the documentation gives."""

RESERVED = frozenset(
    {"slot", "preset", "command", "kind", "hooks", "modality", "task", "component", "plugin"}
)
"""Words that name other things where a kind could stand."""
