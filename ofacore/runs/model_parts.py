"""The parts of a model that has grown: which are new, which old and new tasks share, which are not trained."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass

from ofacore.generalist.facade import Generalist
from ofacore.ground.vocabulary import CORE
from ofacore.parallel.sharding import whole_shape
from ofacore.plan import criterion_key
from ofacore.setup.model_needs import model_needs

_ALWAYS = ("backbone", "norms")
"""Parts that every task uses."""


@dataclass
class Part:
    """One part."""

    name: str
    parameters: int
    state: str
    """``new``, ``shared``, ``frozen`` or ``not trained``."""


def parts_of(generalist: Generalist, stored: Collection[str]) -> list[Part]:
    """Parts with their sizes; what no trained task uses is not trained.

    Args:
        generalist: The model with what joined it.
        stored: Names of the weights that it starts from.
    """
    frozen, used = _frozen(generalist), _used(generalist)
    found: dict[tuple[str, str], Part] = {}
    for name, size, parameter in _sizes(generalist):
        part = _part_of(name)
        state = "shared"
        if parameter in frozen:
            state = "frozen"
        elif name not in stored:
            state = "new"
        elif part not in used and part not in _ALWAYS:
            state = "not trained"
        entry = found.setdefault((part, state), Part(part, 0, state))
        entry.parameters += size
    return sorted(found.values(), key=lambda part: (part.state, part.name))


def _sizes(generalist: Generalist) -> list[tuple[str, int, str]]:
    """Portable name, numbers and name of the parameter of everything that can be trained."""
    model = generalist.model
    found = []
    hidden = model.sizes.hidden
    sizes = {block.name: block.size for block in model.vocabulary.blocks}
    for name, parameter in model.named_parameters():
        rows = model.portable_rows(name)
        if name in rows:
            found.append((name, math.prod(whole_shape(parameter)), name))
            continue
        for portable in rows:
            block = portable.removeprefix("embedding.").removesuffix(".output")
            found.append((portable, sizes[block] * hidden, name))
    return found


def _part_of(name: str) -> str:
    """The part of a weight, in words."""
    room, _, rest = name.partition(".")
    if room == "embedding":
        kind, *more = rest.removesuffix(".output").split(":")
        return f"tokens {':'.join([kind, *more[:1]])}"
    if room in ("adapters", "heads", "criteria"):
        kind = {"adapters": "adapter", "heads": "head", "criteria": "criterion"}[room]
        return f"{kind} {rest.partition('.')[0]}"
    if room == "types":
        return f"adapter {rest.partition('/')[2]}"
    return "norms" if room.endswith("_norm") else room


def _used(generalist: Generalist) -> set[str]:
    """Parts that the trained tasks use."""
    assembly = generalist.assembly
    plans = [assembly.plans[name] for name in generalist.data]
    needs = model_needs(plans, assembly)
    preprocessors = {slot.preprocessor for plan in plans for slot in plan.slots()}
    blocks = {block.name for name in preprocessors for block in assembly.blocks_of(name)}
    found = {_part_of(f"embedding.{name}") for name in (CORE.name, *blocks)}
    found |= {f"adapter {part.name}" for part in needs.adapters}
    found |= {f"head {part.name}" for part in needs.heads}
    keys = [criterion_key(part.name, part.options) for part in needs.criteria]
    return found | {f"criterion {key}" for key in keys}


def _frozen(generalist: Generalist) -> set[str]:
    """Names of parameters that the first rule that matches them freezes, or the model itself."""
    rules = generalist.assembly.config.train.optimizer.rules
    found = set()
    for name, parameter in generalist.model.named_parameters():
        rule = next((rule for rule in rules if re.search(rule.pattern, name)), None)
        if not parameter.requires_grad or (rule is not None and rule.freeze):
            found.add(name)
    return found
