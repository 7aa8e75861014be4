"""What differs between packages of components of different kinds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Example:
    """The component that a new package starts with; ``{name}`` stands for its name."""

    doc: str
    options: str = "{}"
    """Source of the mapping of its options."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """How the sample configuration chooses it: values of the template."""
    requires: tuple[str, ...] = ()
    is_function: bool = False


COMPONENTS: Mapping[str, Example] = MappingProxyType(
    {
        "criterion": Example(
            "Focal loss on tokens.", '{"gamma": 2.0}', {"attribute": ",criterion={name}"}, ("numpy>=2",)
        ),
        "generator": Example(
            "The likeliest of several samples.",
            '{"samples": 4, "temperature": 1.0, "max_length": 256, "n_best": 1}',
            {"attribute": ",generator={name}"},
        ),
        "metric": Example(
            "Share of predictions that begin like their reference.",
            '{"letters": 1}',
            {"task_lines": "    metrics: [{{metric: {name}, slot: opposite}}]\n"},
        ),
        "router": Example("Experts by place in the segment.", '{"number": 2}', {"model_setting": ", experts: {name}"}),
        "schedule": Example(
            "Every task in turn, for some steps.", '{"steps": 2}', {"train_setting": ", schedule: {{name: {name}}}"}
        ),
        "tracker": Example("Metrics as lines of text.", settings={"train_setting": ", trackers: [jsonl, {name}]"}),
        "transform": Example(
            "Blanks at the ends removed.",
            settings={"data_lines": "      transforms: {{word: [{name}]}}\n"},
            is_function=True,
        ),
    }
)
"""Kind of component -> its example."""
