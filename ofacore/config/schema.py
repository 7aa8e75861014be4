"""The schema of a run. Every key is checked before any work; unknown keys are errors."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from ofacore.config.model_section import ModelConfig
from ofacore.config.section import GenerationValues, Section
from ofacore.config.task_section import TaskConfig
from ofacore.config.train_section import TrainConfig


def _names_a_folder(text: str) -> str:
    try:
        if text.format(name="run").strip():
            return text
    except (KeyError, IndexError, ValueError, AttributeError):
        pass
    raise ValueError("a folder, in which {name} and nothing else stands for the name of the run")


class ParallelConfig(Section):
    """How several processes divide the work. One process needs none of this."""

    nproc: int = Field(
        1, ge=1, description="Processes; under torchrun or Slurm: as many as were started."
    )
    tp: int = Field(1, ge=1, description="Tensor parallel: processes that share every layer.")
    pp: int = Field(1, ge=1, description="Pipeline parallel: stages that the layers are cut into.")
    sp: bool = Field(
        False,
        description="Sequence parallel: with tp, positions are split between the large matrices.",
    )
    ep: int = Field(
        1, ge=1, description="Expert parallel: data ranks that experts are spread over."
    )
    zero: Literal[0, 1] = Field(
        0, description="1: each data rank keeps a share of the optimiser's state (ZeRO-1)."
    )
    fsdp: bool = Field(
        False, description="Weights, gradients and optimiser state are split over data ranks."
    )
    timeout: float = Field(
        600,
        gt=0,
        description="Seconds that a step, with its validation and saving, or scoring a task may take.",
    )
    max_restarts: int = Field(
        0, ge=0, description="Times a failed run goes on from its last checkpoint by itself."
    )


class PluginsConfig(Section):
    """Settings about plugins."""

    prefer: dict[str, str] = Field(
        default_factory=dict, description="Name in conflict -> distribution that wins."
    )


class RunConfig(Section):
    """A whole run."""

    tasks: dict[str, TaskConfig] = Field(
        default_factory=dict,
        description='Tasks by name; the settings of `"*"` are copied into all of them.',
    )
    model: ModelConfig = Field(ModelConfig(), description="The universal model.")
    options: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Options of components: `kind/name` -> option -> value, as `{tracker/wandb: {project: mine}}`.",
    )
    train: TrainConfig = Field(TrainConfig(), description="The loop.")
    parallel: ParallelConfig = Field(
        ParallelConfig(), description="How several processes divide the work."
    )
    generation: GenerationValues = Field(
        default_factory=dict, description="The same for all tasks whose generators have them."
    )
    plugins: PluginsConfig = Field(PluginsConfig(), description="Plugins.")
    keep: tuple[str, ...] | Literal["all"] = Field(
        (),
        description="With `ofa train --from RUN`: tasks of that model that go on being trained with their data; all: "
        "every one.",
    )
    out: Annotated[str, AfterValidator(_names_a_folder)] = Field(
        "runs/{name}", description="Run folder."
    )
    name: str = Field("run", description="Name of the run.")
