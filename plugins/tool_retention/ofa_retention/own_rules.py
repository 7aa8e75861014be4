"""Rules of the optimizer for one task alone: those of the whole recipe that it has parameters for."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection

from ofacore.config.schema import RunConfig

logger = logging.getLogger("ofacore.retention")


def with_own_rules(config: RunConfig, names: Collection[str]) -> RunConfig:
    """A specialist's configuration without rules of the optimizer that only other tasks have parameters for; told.

    Args:
        config: With the rules of the whole recipe.
        names: Of its parameters.
    """
    rules = config.train.optimizer.rules
    own = tuple(rule for rule in rules if _matches(rule.pattern, names))
    if own == rules:
        return config
    for rule in rules:
        if rule not in own:
            logger.warning("'%s' has nothing that the rule '%s' is for", config.name, rule.pattern)
    optimizer = config.train.optimizer.model_copy(update={"rules": own})
    train = config.train.model_copy(update={"optimizer": optimizer})
    return config.model_copy(update={"train": train})


def _matches(pattern: str, names: Collection[str]) -> bool:
    try:
        return any(re.search(pattern, name) for name in names)
    except re.error:  # the training says so
        return True
