"""The section of training: steps, optimiser, checkpoints, validation. Every key is checked before any work."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from ofacore.config.section import Epochs, Pattern, Section, Share


class GroupRule(Section):
    """Optimiser settings for parameters whose name matches."""

    pattern: Pattern = Field(description="Regular expression that is searched in parameter names.")
    lr: float = Field(1.0, ge=0, description="Factor on the learning rate.")
    weight_decay: float | None = Field(
        None, ge=0, description="In place of the optimiser's; unset: the same."
    )
    freeze: bool = Field(False, description="These parameters are not trained.")


class OptimizerConfig(Section):
    """The optimiser."""

    name: Literal["adamw", "muon", "sgd"] = Field(
        "muon", description="muon: Muon for matrices, AdamW for the rest."
    )
    lr: float = Field(1e-3, gt=0, description="Rate of AdamW and SGD.")
    muon_lr: float = Field(2e-2, gt=0, description="Rate of matrices under Muon.")
    muon_momentum: float = Field(0.95, ge=0, lt=1, description="Momentum of Muon.")
    muon_precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="Format in which Muon makes matrices orthogonal; auto: that in which the run computes.",
    )
    muon_except: str = Field(
        r"(^|[._])(embed\w*|heads?|positions?|routers?|criteria|criterion)\.",
        description="Matrices whose name matches stay with AdamW; embedding tables always do.",
    )
    sgd_momentum: float = Field(0.0, ge=0, lt=1, description="Momentum of SGD.")
    betas: tuple[Share, Share] = Field(
        (0.9, 0.99), description="AdamW's decay rates of the two moments."
    )
    eps: float = Field(1e-8, gt=0, description="AdamW's term against division by zero.")
    weight_decay: float = Field(0.01, ge=0, description="Decoupled weight decay.")
    clip: float = Field(1.0, ge=0, description="Gradient norm limit; 0: none.")
    rules: tuple[GroupRule, ...] = Field(
        (), description="Settings by name of parameter; the first match counts."
    )


class LrConfig(Section):
    """The learning rate over the run."""

    name: Literal["cosine", "polynomial", "wsd", "constant"] = Field(
        "wsd", description="Shape of the learning rate; wsd: warm-up, stable, decay."
    )
    warmup: int | float = Field(
        0.05, ge=0, description="Steps, or a share of all steps if below 1."
    )
    decay: float = Field(0.25, ge=0, le=1, description="wsd: share of steps of the final decay.")
    end: float = Field(0.0, ge=0, description="Factor at the end.")
    power: float = Field(1.0, gt=0, description="polynomial: exponent.")


class ScheduleConfig(Section):
    """The schedule of tasks."""

    name: str = Field(
        "all",
        description="all, proportional, temperature, weights, round_robin, curriculum, or a plugin's.",
    )
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the schedule.")


class AggregatorConfig(Section):
    """How the gradients of the tasks become one."""

    name: str = Field("sum", description="sum, which costs nothing, or a plugin's.")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the aggregator.")

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        """A name alone stands for the section."""
        return {"name": value} if isinstance(value, str) else value


class TeacherConfig(Section):
    """A trained model that others learn from."""

    model: str = Field(description="Run folder, checkpoint or saved model.")
    tasks: tuple[str, ...] = Field(
        (), description="Tasks that it teaches; empty: all that both models know."
    )
    weight: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Share of its predictions in the losses; the rows have the rest.",
    )


class CheckpointConfig(Section):
    """When the run is saved."""

    every: int = Field(200, ge=0, description="Steps between checkpoints; 0: at the end only.")
    keep_last: int = Field(2, ge=1, description="Checkpoints kept, besides the best.")
    best: str = Field(
        "",
        description="Value of validation that decides `best`, such as `task/metric`; empty: the tasks' metrics.",
    )
    higher_is_better: bool | None = Field(
        None, description="How `best` is compared; unset: as the metric says."
    )
    form: Literal["auto", "portable", "sharded"] = Field(
        "auto",
        description="sharded: every process writes its own part; auto: sharded if there are several.",
    )
    background: bool = Field(
        False, description="sharded: copy to memory, and write while training goes on."
    )


class ValidationConfig(Section):
    """Validation while training."""

    every: int = Field(0, ge=0, description="Steps between validations; 0: at the end only.")
    samples: int = Field(64, ge=1, description="Rows of each task.")
    patience: int = Field(
        0, ge=0, description="Validations without improvement before stopping; 0: never."
    )
    generate: bool | None = Field(
        None,
        description="Also compute metrics by generation; unset: where `every` is set, so that `best` goes by them.",
    )

    @property
    def measures(self) -> bool:
        """Whether metrics are computed."""
        return self.every > 0 if self.generate is None else self.generate


class FaultConfig(Section):
    """What happens when something goes wrong."""

    bad_rows: Literal["replace", "raise"] = Field(
        "replace", description="A row that cannot be used: take another, or stop."
    )
    bad_row_limit: int = Field(
        100, ge=0, description="Stop after more different bad rows than this."
    )
    nan: Literal["skip", "raise"] = Field(
        "skip", description="A loss or gradient that is not finite: skip the step, or stop."
    )
    nan_limit: int = Field(10, ge=0, description="Stop after more skipped steps than this.")
    out_of_memory: Literal["split", "raise"] = Field(
        "split", description="Out of memory: halve the micro-batch, or stop."
    )


class TrainConfig(Section):
    """The loop."""

    steps: int = Field(1000, ge=0, le=10**12, description="Optimiser steps.")
    epochs: Epochs | dict[str, Epochs] | None = Field(
        None,
        description="In place of steps: passes over the rows of all tasks together, as many samples as they have; or "
        "task -> passes over its own rows, where the longest of these runs counts.",
    )
    samples: int = Field(64, gt=0, le=10**9, description="Samples in a step, over all tasks.")
    micro_batch_positions: int = Field(
        16384, gt=0, description="Most positions (source and target) in one micro-batch."
    )
    micro_batch_samples: int = Field(
        0, ge=0, description="Most samples in one micro-batch; 0: no limit."
    )
    packing: bool = Field(
        True, description="Several short samples share a row, blind to each other."
    )
    seed: int = Field(
        1,
        ge=0,
        le=10**18,
        description="Of initial values, order of samples, dropout, and everything else.",
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto",
        description="bf16: compute with weights in bf16, keep them in fp32; auto: bf16 where the processor has it.",
    )
    threads: int = Field(0, ge=0, description="CPU threads; 0: all.")
    workers: int = Field(0, ge=0, description="Data loader processes.")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Of the cross-entropy over tokens.")
    optimizer: OptimizerConfig = Field(OptimizerConfig(), description="Optimiser.")
    lr: LrConfig = Field(LrConfig(), description="Learning rate over the run.")
    schedule: ScheduleConfig = Field(
        ScheduleConfig(), description="How many samples each task gives to a step."
    )
    loss_average: Literal["tasks", "samples"] = Field(
        "tasks",
        description="What the loss is a mean of; tasks: each counts alike, however many samples of a step it has; "
        "samples: each counts by its share of them.",
    )
    aggregator: AggregatorConfig = Field(
        AggregatorConfig(),
        description="How the gradients of the tasks become one; a name alone will do.",
    )
    teachers: tuple[TeacherConfig, ...] = Field(
        (), description="Trained models whose predictions are learned from, too."
    )
    ema: float = Field(0.0, ge=0, lt=1, description="Decay of averaged weights; 0: off.")
    checkpoint: CheckpointConfig = Field(CheckpointConfig(), description="Checkpoints.")
    validation: ValidationConfig = Field(
        ValidationConfig(), description="Validation while training."
    )
    faults: FaultConfig = Field(
        FaultConfig(), description="What happens when something goes wrong."
    )
    test_rows: int = Field(
        300,
        ge=0,
        description="Most test rows of each task that the finished run is scored on; 0: all.",
    )
    log_every: int = Field(10, ge=1, description="Steps between lines of metrics.")
    trackers: tuple[str, ...] = Field(("jsonl", "tensorboard"), description="Where metrics go.")

    @model_validator(mode="after")
    def _one_length(self) -> TrainConfig:
        if self.epochs is not None and "steps" in self.model_fields_set:
            raise ValueError("steps or epochs, not both")
        return self
