"""The section of a task: its data, losses, metrics. Every key is checked before any work."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from ofacore.config.section import (
    Character,
    ClassWeights,
    ClosedValues,
    Empty,
    Encoding,
    GenerationValues,
    Section,
)


class SplitConfig(Section):
    """Rows held out of `train` where `valid` or `test` is not given, by a hash of what they hold."""

    valid: float = Field(0.1, ge=0, lt=1, description="Share for validation; 0: none.")
    test: float = Field(0.1, ge=0, lt=1, description="Share for the test; 0: none.")

    @model_validator(mode="after")
    def _leaves_some(self) -> SplitConfig:
        if self.valid + self.test >= 1:
            raise ValueError("shares that leave rows for training: below 1 together")
        return self


class DataConfig(Section):
    """Where the rows of a task come from."""

    optional: bool = Field(
        False,
        description="Where the preset's starter data cannot be had, the task is left out, with a warning.",
    )
    train: Any = Field(
        None,
        description="File, folder, list of files, dataset name, or rows; None: the preset's starter data.",
    )
    valid: Any = Field(None, description="As train.")
    test: Any = Field(None, description="As train.")
    split: SplitConfig | None = Field(
        None,
        description="Rows held out of train for validation and test; rows that are alike stay on one side.",
    )
    format: Literal[
        "auto", "csv", "tsv", "jsonl", "json", "parquet", "folder", "webdataset", "hf"
    ] = Field(
        "auto",
        description="auto: by the suffix; hf: a Hugging Face dataset by name, or a folder that holds a saved one.",
    )
    delimiter: Character = Field(
        "", description="CSV/TSV: the character between fields; empty: as the format says."
    )
    header: bool = Field(True, description="CSV/TSV: the first line names the columns.")
    names: tuple[str, ...] = Field((), description="CSV/TSV without header: names of the columns.")
    quoting: Literal["auto", "csv", "none"] = Field(
        "auto",
        description="CSV/TSV: csv: a field in double quotes may hold delimiters, quotes and line breaks; none: a "
        "quotation mark is a letter; auto: csv for CSV, none for TSV.",
    )
    encoding: Encoding = Field(
        "",
        description="CSV/TSV/JSON: of the text, such as cp1252; empty: UTF-8, or what a byte order mark says.",
    )
    empty: Empty | dict[str, Empty] = Field(
        "text",
        description="What an empty text means: text, or absent, as None; for all columns, or column -> meaning.",
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Slot name -> column name, where they differ; answers.text.0 is a place inside of a column, "
        "'*' one object of all columns that nothing else reads.",
    )
    transforms: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Column -> transforms, in order."
    )
    row_transforms: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Transform of whole rows -> its options; in order, behind the preset's and those of columns.",
    )


class LossConfig(Section):
    """One loss term of a task."""

    criterion: str = Field(description="Name of an installed criterion.")
    hidden: str = Field(description="Slot whose hidden states it reads, on either side.")
    labels: str = Field("", description="Slot that gives the labels; empty: the same.")
    head: str = Field(
        "", description="Head between the two; empty: that of the slot that gives the labels."
    )
    weight: float = Field(1.0, ge=0, description="Factor on this term.")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the criterion.")


class MetricConfig(Section):
    """One metric of a task."""

    metric: str = Field(description="Name of an installed metric.")
    slot: str = Field(description="Target slot whose predictions it judges.")
    references: str = Field(
        "", description="Column that holds the references; empty: the slot's own."
    )
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the metric.")


class TaskConfig(Section):
    """One task: a preset by name, or instructions; data; losses; metrics."""

    preset: str = Field("", description="Name of an installed task preset.")
    instruction: str | tuple[str | tuple[str, float], ...] = Field(
        (), description="Template, templates, or (template, weight) pairs."
    )
    data: DataConfig = Field(DataConfig(), description="Its rows.")
    weight: float = Field(1.0, ge=0, description="Share of samples, relative to the other tasks.")
    loss_weight: float = Field(1.0, ge=0, description="Factor on all loss terms of this task.")
    losses: tuple[LossConfig, ...] = Field(
        (), description="Loss terms; none: one on each target slot."
    )
    metrics: tuple[MetricConfig, ...] = Field(
        (), description="Metrics, the first is the score; none: the preset's."
    )
    closed_sets: dict[str, ClosedValues] = Field(
        default_factory=dict,
        description="Slot -> list of values, file with one a line, or {column: name}.",
    )
    class_weights: dict[str, ClassWeights] = Field(
        default_factory=dict,
        description="Target slot -> balanced (in inverse proportion to the training rows of each value), or value -> "
        "factor on the loss of rows that have it.",
    )
    label_smoothing: float | None = Field(
        None, ge=0, lt=1, description="Of this task, in place of train.label_smoothing."
    )
    generation: GenerationValues = Field(
        default_factory=dict,
        description="Options of generation, each for the generators that have it; instructions.md lists them.",
    )
    decoder_plain_with_loss: bool = Field(
        False, description="Plain text of the target is learned too."
    )
    prompt_slot: str = Field("", description="Slot that guidance drops; empty: the whole source.")
    drop_prompt: float = Field(
        0.0, ge=0, le=1, description="Probability of dropping the prompt in training."
    )
