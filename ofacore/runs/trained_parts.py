"""What a run trains: how many numbers of each part of the model, by which method, at which rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

from rich.console import Console
from torch import nn

from ofacore.config.train_section import OptimizerConfig
from ofacore.model.weights import lora, prefix
from ofacore.parallel.sharding import whole_shape
from ofacore.runs.scoring_run import print_table
from ofacore.training.optim.parameters import Treatment, first_match, treatments

_DEEP = ("backbone", "adapters", "heads", "criteria")
"""Parts of the model that have parts of their own."""
_SMALL = {lora.MARK: "low rank", prefix.MARK: "prefix"}
"""In the names of what is learned in place of weights -> how it is called."""


@dataclass
class TrainedPart:
    """One part of a model."""

    name: str
    parameters: int = 0
    """Numbers that it has."""
    trained: int = 0
    """Of these, those that are trained."""
    treatments: dict[Treatment, None] = field(default_factory=dict)
    """What happens to them, each once."""

    @property
    def told(self) -> str:
        """Methods with their rates."""
        found = [f"{each.method} {each.lr:g}" for each in self.treatments]
        return ", ".join(dict.fromkeys(found)) or "frozen"


def trained_parts(model: nn.Module, config: OptimizerConfig) -> list[TrainedPart]:
    """Parts in the order of their parameters; whole parameters are counted, whatever this process holds of them.

    Raises:
        RuleError: A rule matches nothing.
    """
    treated = treatments(model, config)
    found: dict[str, TrainedPart] = {}
    for name, parameter in model.named_parameters():
        part = _part_of(name)
        row = found.setdefault(part, TrainedPart(part))
        size = prod(whole_shape(parameter))
        row.parameters += size
        rule = first_match(config.rules, name)
        if name in treated and not (rule is not None and rule.freeze):
            row.trained += size
            row.treatments[treated[name]] = None
    return list(found.values())


def _part_of(name: str) -> str:
    steps = name.split(".")
    part = ".".join(steps[:2]) if steps[0] in _DEEP else steps[0]
    kind = next((told for mark, told in _SMALL.items() if mark in name), "")
    return f"{part}, {kind}" if kind else part


def print_trained(rows: Sequence[TrainedPart], console: Console) -> None:
    """The table, and the whole in its last line."""
    parameters = sum(row.parameters for row in rows)
    trained = sum(row.trained for row in rows)
    lines = [(*_numbers(row.name, row.parameters, row.trained), row.told) for row in rows]
    lines.append((*_numbers("all of it", parameters, trained), ""))
    console.print("trained", highlight=False)
    print_table(("part", "parameters", "trained", "share", "by"), lines, console)


def _numbers(name: str, parameters: int, trained: int) -> tuple[str, str, str, str]:
    share = trained / parameters if parameters else 0.0
    return name, f"{parameters:,}", f"{trained:,}", f"{share:.1%}"
