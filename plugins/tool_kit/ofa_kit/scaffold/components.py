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


_SAMPLING = """{
                "samples": Option(4, "Samples that are drawn.", minimum=1),
                "temperature": Option(1.0, "Divisor of the logits.", minimum=0.001),
                "max_length": Option(256, "Most tokens.", minimum=1),
                "n_best": Option(1, "Candidates returned.", minimum=1),
            }"""
COMPONENTS: Mapping[str, Example] = MappingProxyType(
    {
        "criterion": Example(
            "Focal loss on tokens.",
            '{"gamma": Option(2.0, "How much less a token counts that is predicted well.", minimum=0)}',
            {"attribute": ",criterion={name}"},
            ("numpy>=2",),
        ),
        "generator": Example(
            "The likeliest of several samples.",
            _SAMPLING,
            {"attribute": ",generator={name}"},
        ),
        "metric": Example(
            "Share of predictions that begin like their reference.",
            '{"letters": Option(1, "Letters that are compared.", minimum=1)}',
            {"task_lines": "    metrics: [{{metric: {name}, slot: opposite}}]\n"},
        ),
        "router": Example(
            "Experts by place in the segment.", "{}", {"model_setting": ", experts: {name}"}
        ),
        "schedule": Example(
            "Every task in turn, for some steps.",
            '{"steps": Option(2, "Steps of a task before the next has its turn.", minimum=1)}',
            {"train_setting": ", schedule: {{name: {name}}}"},
        ),
        "tracker": Example(
            "Metrics as lines of text.", settings={"train_setting": ", trackers: [jsonl, {name}]"}
        ),
        "transform": Example(
            "Blanks at the ends removed.",
            settings={"data_lines": "      transforms: {{word: [{name}]}}\n"},
            is_function=True,
        ),
    }
)
"""Kind of component -> its example."""
