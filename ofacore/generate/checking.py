"""Whether what the tasks' options of generation ask for can be had: told before training, not behind it."""

from __future__ import annotations

from collections.abc import Mapping

from ofacore.assembly import Assembly, TaskData
from ofacore.config.errors import ConfigError, Problem
from ofacore.data.encode import Encoder, Request
from ofacore.data.permutation import item_rng
from ofacore.errors import UserError
from ofacore.generate.phrases import Phrases
from ofacore.parts.stepping import check_variety
from ofacore.plan import TaskPlan
from ofacore.plan.generation import generation_options
from ofacore.protocols import GenerationOptions, RowError
from ofacore.vocabulary import CORE_TOKENS

_LOOKED_AT = 20
"""Rows that are read in search of a usable one."""


def check_generation(assembly: Assembly, data: Mapping[str, TaskData]) -> None:
    """Try phrases and lengths of every task on one of its rows.

    Raises:
        ConfigError: With every task whose options no value can meet.
    """
    problems = []
    for name, plan in assembly.plans.items():
        options = generation_options(assembly.config.generation.model_dump(), plan.generation)
        if name in data and (options.must_contain or options.no_repeat_ngram):
            try:
                _check(assembly, plan, options, data[name])
            except UserError as error:
                problems.append(Problem(f"tasks.{name}.generation", str(error)))
    if problems:
        raise ConfigError(problems)


def _check(assembly: Assembly, plan: TaskPlan, options: GenerationOptions, data: TaskData) -> None:
    encoder = assembly.encoder(plan)
    request = _request(encoder, data)
    if request is None:
        return
    Phrases(encoder.preprocessors, options).check(request.template, request.context)
    for slot in request.template.targets():
        spec = encoder.preprocessors[slot.preprocessor].expect(slot, request.context)
        if spec.blocks and not spec.closed_set:
            length = max(options.min_length, int(slot.attributes.get("min_length") or 0), spec.length or 0)
            choices = sum(len(assembly.vocabulary.range(block)) for block in spec.blocks) + len(CORE_TOKENS)
            check_variety(slot.name, length, options.no_repeat_ngram, choices)


def _request(encoder: Encoder, data: TaskData) -> Request | None:
    """The first row whose target can be asked for."""
    source = data.held_out() or data.train
    for index in range(min(_LOOKED_AT, 0 if source is None else len(source))):
        assert source is not None
        try:
            rng = item_rng(0, encoder.plan.name, 0, index)
            request = encoder.encode_request(source[index], rng=rng, row_id=f"row {index}", split="test")
            for slot in request.template.targets():
                encoder.preprocessors[slot.preprocessor].expect(slot, request.context)
        except RowError:
            continue
        return request
    return None
