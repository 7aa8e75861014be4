"""Whether what the options of generation ask for can be had: told before training, not behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ofacore.batching.permutation import item_rng
from ofacore.config.problems import ConfigError, Problem
from ofacore.decoding.phrases import Phrases
from ofacore.encoding.encoder import Encoder, Request
from ofacore.ground.errors import UserError
from ofacore.plan import TaskPlan
from ofacore.plan.generation import Generation, generation_of, target_slots
from ofacore.plugin import Registry
from ofacore.plugin.blame import Blame, who
from ofacore.protocols import Generator, Options, RequestCheck, RowError, RowRequest, Vocabulary
from ofacore.setup.assembly import Assembly
from ofacore.setup.datasets import TaskRows

_LOOKED_AT = 20
"""Rows that are read in search of a usable one."""


@dataclass(frozen=True)
class RequestChecks:
    """What the generators of a task have to say of a row before anything is generated."""

    encoder: Encoder
    generators: Mapping[str, Generator]
    phrases: Phrases
    vocabulary: Vocabulary
    owner: Callable[[str, str], str]
    """Kind and name of a component -> whose it is, for messages."""

    def __call__(self, request: Request) -> None:
        """Let the generator of each target slot look at its request.

        Raises:
            UserError: No value can be as the options ask.
        """
        ctx = replace(
            request.context,
            rng=np.random.default_rng(0),
            published=request.context.published.copy(),
        )
        self.phrases.check(request.template, ctx)
        for slot in request.template.targets():
            generator = self.generators[slot.generator]
            if not isinstance(generator, RequestCheck):
                continue
            try:
                spec = self.encoder.preprocessors[slot.preprocessor].expect(slot, ctx)
            except RowError:
                continue  # a value inside of a repeat may need what only its turn has
            phrases = self.phrases(slot, ctx) if spec.blocks else ()
            asked = RowRequest(slot, ctx, spec, required=phrases)
            with Blame(
                self.owner("generator", slot.generator), f"check_request, slot '{slot.name}'"
            ):
                try:
                    generator.check_request(asked, self.vocabulary)
                except ValueError as error:
                    raise UserError(str(error)) from error


def check_generation(assembly: Assembly, data: Mapping[str, TaskRows]) -> None:
    """Try the options of every task that has any on one of its rows.

    Raises:
        ConfigError: With every task whose options no value can meet.
    """
    problems = []
    for name, plan in assembly.plans.items():
        registry = assembly.registry
        generation = generation_of(
            target_slots(plan), registry, assembly.config.generation, plan.generation
        )
        changed = _changed(generation, registry)
        if name in data and changed:
            try:
                _check(assembly, plan, changed, data[name])
            except UserError as error:
                problems.append(Problem(f"tasks.{name}.generation", str(error)))
    if problems:
        raise ConfigError(problems)


def _changed(generation: Generation, registry: Registry) -> dict[str, Options]:
    """Generators whose options are not those that they have anyway."""
    found = generation.generators.items()
    return {
        name: options
        for name, options in found
        if options != registry.component("generator", name).options
    }


def _check(
    assembly: Assembly, plan: TaskPlan, changed: Mapping[str, Options], data: TaskRows
) -> None:
    encoder, registry = assembly.encoder(plan), assembly.registry
    request = _request(encoder, data)
    if request is None:
        return
    names = dict.fromkeys(slot.generator for slot in request.template.targets())
    made = {name: registry.make("generator", name, changed.get(name)) for name in names}
    phrases = Phrases(encoder.preprocessors, changed)
    RequestChecks(encoder, made, phrases, assembly.vocabulary, partial(who, registry))(request)


def _request(encoder: Encoder, data: TaskRows) -> Request | None:
    """The first row whose target can be asked for."""
    source = data.held_out() or data.train
    if source is None:
        return None
    for index in range(min(_LOOKED_AT, len(source))):
        try:
            rng = item_rng(0, encoder.plan.name, 0, index)
            request = encoder.encode_request(
                source[index], rng=rng, row_id=f"row {index}", split="test"
            )
            for slot in request.template.targets():
                encoder.preprocessors[slot.preprocessor].expect(slot, request.context)
        except RowError:
            continue
        return request
    return None
