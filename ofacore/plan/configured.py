"""Plans from a configuration: a task's own settings over those of its preset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ofacore.config.task_section import LossConfig, TaskConfig
from ofacore.plan.compile import compile_task
from ofacore.plan.types import LossPlan, TaskPlan
from ofacore.plugin import LossUse, MetricUse, Registry, TaskPreset
from ofacore.protocols import Options

_EMPTY = TaskPreset(name="", instructions=())


def plan_task(name: str, config: TaskConfig, registry: Registry) -> TaskPlan:
    """Plan one configured task; what the configuration leaves unset comes from its preset.

    Raises:
        UnknownNameError: No such preset, metric or criterion.
        InstructionError: A template is not well-formed, or asks for what does not exist.
    """
    preset = registry.preset(config.preset) if config.preset else _EMPTY
    options: dict[str, Any] = dict(preset.options)
    generation = {key: value for key, value in config.generation.items() if value is not None}
    weight = config.weight if "weight" in config.model_fields_set else preset.weight
    return compile_task(
        name,
        config.instruction or preset.instructions,
        registry,
        losses=[_loss(loss) for loss in (config.losses or preset.losses)],
        metrics=[MetricUse(**m.model_dump()) for m in config.metrics] or list(preset.metrics),
        columns=dict(config.data.columns),
        transforms={**preset.transforms, **config.data.transforms},
        row_transforms=_row_transforms(preset.row_transforms, config.data.row_transforms),
        closed_sets={**preset.closed_sets, **config.closed_sets},
        generation={**preset.generation, **generation},
        weight=weight,
        loss_weight=config.loss_weight,
        decoder_plain_with_loss=config.decoder_plain_with_loss
        or bool(options.get("decoder_plain_with_loss")),
        class_weights=dict(config.class_weights),
        label_smoothing=config.label_smoothing,
        prompt_slot=config.prompt_slot or str(options.get("prompt_slot", "")),
        drop_prompt=config.drop_prompt or float(options.get("drop_prompt", 0.0)),
    )


def _row_transforms(
    preset: Mapping[str, Options], given: Mapping[str, Options]
) -> dict[str, Options]:
    """Those of the preset, with what the configuration sets for them, and then its own."""
    return {name: {**preset.get(name, {}), **given.get(name, {})} for name in [*preset, *given]}


def _loss(loss: LossConfig | LossUse) -> LossPlan:
    values = loss.model_dump() if isinstance(loss, LossConfig) else asdict(loss)
    return LossPlan(**{**values, "labels": values["labels"] or values["hidden"]})
