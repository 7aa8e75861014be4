"""Which optimiser, rate and decay every parameter gets."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from ofacore.config.train_section import GroupRule, OptimizerConfig
from ofacore.parallel.sharding import whole_shape
from ofacore.training.training_errors import RuleError

MATRIX_MINIMUM = 2
"""A matrix with fewer rows or columns is a vector in disguise."""


@dataclass(frozen=True)
class Treatment:
    """What happens to one parameter."""

    method: Literal["adamw", "muon", "sgd"]
    lr: float
    """Rate before the curve's factor."""
    weight_decay: float


def freeze(model: nn.Module, config: OptimizerConfig) -> list[nn.Parameter]:
    """Apply the rules that freeze; returns what was trainable before. To be called before averages are made."""
    frozen = []
    for name, parameter in model.named_parameters():
        rule = first_match(config.rules, name)
        if parameter.requires_grad and rule is not None and rule.freeze:
            parameter.requires_grad_(False)
            frozen.append(parameter)
    return frozen


def thaw(frozen: Sequence[nn.Parameter]) -> None:
    """Rules hold for a run: the next one may train what they froze."""
    for parameter in frozen:
        parameter.requires_grad_(True)


def treatments(model: nn.Module, config: OptimizerConfig) -> dict[str, Treatment]:
    """Trained parameter's name -> its treatment.

    Raises:
        RuleError: A rule's pattern is no regular expression or matches no parameter.
    """
    check_rules(model, config.rules)
    embeddings = embedding_names(model)
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            found[name] = _treatment(name, parameter, name in embeddings, config)
    return found


def first_match(rules: Sequence[GroupRule], name: str) -> GroupRule | None:
    """The first rule whose pattern is found in the name decides."""
    return next((rule for rule in rules if re.search(rule.pattern, name)), None)


def check_rules(model: nn.Module, rules: Sequence[GroupRule]) -> None:
    """Every pattern must compile and match; a rule that silently does nothing is a mistake.

    Raises:
        RuleError: Names the pattern and some parameters.
    """
    names = whole_names(model)
    for number, rule in enumerate(rules):
        place = f"train.optimizer.rules[{number}].pattern '{rule.pattern}'"
        try:
            pattern = re.compile(rule.pattern)
        except re.error as error:
            raise RuleError(f"{place} is no regular expression: {error}") from error
        if not any(pattern.search(name) for name in names):
            raise RuleError(
                f"{place} matches no parameter; there are, among others: {', '.join(names[:6])}"
            )


def whole_names(model: nn.Module) -> tuple[str, ...]:
    """Names of all parameters of a model, even where this process holds a part of them."""
    names: Callable[[], tuple[str, ...]] | None = getattr(model, "whole_names", None)
    return tuple(name for name, _ in model.named_parameters()) if names is None else names()


def embedding_names(model: nn.Module) -> set[str]:
    """Parameters that belong to embedding tables."""
    return {
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        if "Embedding" in type(module).__name__
        for name, _ in module.named_parameters(recurse=False)
    }


def _treatment(
    name: str, parameter: nn.Parameter, embedding: bool, config: OptimizerConfig
) -> Treatment:
    rule = first_match(config.rules, name)
    factor = rule.lr if rule else 1.0
    decay = config.weight_decay if parameter.ndim >= 2 else 0.0
    if rule is not None and rule.weight_decay is not None:
        decay = rule.weight_decay
    is_matrix = (
        parameter.ndim == 2 and min(whole_shape(parameter)) >= MATRIX_MINIMUM and not embedding
    )
    if config.name == "muon" and is_matrix and not re.search(config.muon_except, name):
        return Treatment("muon", config.muon_lr * factor, decay)
    if config.name == "sgd":
        return Treatment("sgd", config.lr * factor, decay)
    return Treatment("adamw", config.lr * factor, decay)
