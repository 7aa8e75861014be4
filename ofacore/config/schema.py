"""The schema of a run. Every key is checked before any work; unknown keys are errors."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Base of every section: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Section):
    """Where the rows of a task come from."""

    train: Any = Field(None, description="File, folder, list of files, dataset name, or rows; None: the preset's starter data.")
    valid: Any = Field(None, description="As train.")
    test: Any = Field(None, description="As train.")
    format: str = Field("auto", description="csv, tsv, jsonl, parquet, folder, webdataset, hf, or auto by suffix.")
    header: bool = Field(True, description="CSV/TSV: the first line names the columns.")
    names: tuple[str, ...] = Field((), description="CSV/TSV without header: names of the columns.")
    columns: dict[str, str] = Field(default_factory=dict, description="Slot name -> column name, where they differ.")
    transforms: dict[str, tuple[str, ...]] = Field(default_factory=dict, description="Column -> transforms, in order.")


class LossConfig(Section):
    """One loss term of a task."""

    criterion: str
    hidden: str = Field(description="Slot whose hidden states it reads, on either side.")
    labels: str = Field("", description="Slot that gives the labels; empty: the same.")
    weight: float = Field(1.0, ge=0)
    options: dict[str, Any] = Field(default_factory=dict)


class MetricConfig(Section):
    """One metric of a task."""

    metric: str
    slot: str
    references: str = ""
    options: dict[str, Any] = Field(default_factory=dict)


class GenerationConfig(Section):
    """Options of generation; unset values take the task's, then the generator's default."""

    strategy: Literal["greedy", "beam", "diverse_beam", "diverse_siblings", "sample"] | None = None
    beam: int | None = Field(None, ge=1)
    groups: int | None = Field(None, ge=1)
    diversity: float | None = None
    temperature: float | None = Field(None, gt=0)
    top_k: int | None = Field(None, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    length_penalty: float | None = None
    unk_penalty: float | None = None
    min_length: int | None = Field(None, ge=0)
    max_length: int | None = Field(None, ge=1)
    no_repeat_ngram: int | None = Field(None, ge=0)
    n_best: int | None = Field(None, ge=1)
    must_contain: tuple[str, ...] | None = None
    max_turns: int | None = Field(None, ge=1)
    scheduler: str | None = None
    steps: int | None = Field(None, ge=1)
    guidance: float | None = Field(None, ge=0)
    seed: int | None = None


class TaskConfig(Section):
    """One task: a preset by name, or instructions; data; losses; metrics."""

    preset: str = Field("", description="Name of an installed task preset.")
    instruction: str | tuple[str | tuple[str, float], ...] = Field((), description="Template, templates, or (template, weight) pairs.")
    data: DataConfig = DataConfig()
    weight: float = Field(1.0, ge=0, description="Share of samples, relative to the other tasks.")
    loss_weight: float = Field(1.0, ge=0, description="Factor on all loss terms of this task.")
    losses: tuple[LossConfig, ...] = ()
    metrics: tuple[MetricConfig, ...] = ()
    closed_sets: dict[str, Any] = Field(default_factory=dict, description="Slot -> list of values, file with one a line, or {column: name}.")
    generation: GenerationConfig = GenerationConfig()
    decoder_plain_with_loss: bool = False
    prompt_slot: str = Field("", description="Slot that guidance drops; empty: the whole source.")
    drop_prompt: float = Field(0.0, ge=0, le=1, description="Probability of dropping the prompt in training.")


class LoraConfig(Section):
    """Low-rank updates of linear layers."""

    rank: int = Field(0, ge=0, description="0: off.")
    alpha: float = 16.0
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: tuple[str, ...] = Field((r".*",), description="Patterns of the linears' names.")


class ModelConfig(Section):
    """The universal model. Unset sizes come from the preset."""

    preset: str = "tiny"
    backbone: str = "megatron"
    hidden: int | None = Field(None, gt=0)
    ffn: int | None = Field(None, gt=0)
    heads: int | None = Field(None, gt=0)
    encoder_layers: int | None = Field(None, ge=0)
    decoder_layers: int | None = Field(None, ge=0)
    positions: str = Field("rotary", description="rotary, untied, or a plugin's scheme.")
    max_positions: int = Field(1024, gt=0)
    norm: Literal["pre", "post"] = "pre"
    norm_type: Literal["layernorm", "rmsnorm"] = "layernorm"
    activation: Literal["gelu", "relu", "silu"] = "gelu"
    qk_norm: bool = True
    scale_attn: bool = False
    scale_fc: bool = False
    scale_heads: bool = False
    scale_resids: bool = False
    attn_scale_factor: float = 1.0
    share_attn_bias: bool = False
    entangle_positions: bool = False
    layernorm_embedding: bool = True
    layernorm_position: bool = True
    type_embedding: bool = True
    tied_head: bool = True
    dropout: float = Field(0.1, ge=0, lt=1)
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    activation_dropout: float = Field(0.0, ge=0, lt=1)
    encoder_drop_path: float = Field(0.0, ge=0, lt=1)
    decoder_drop_path: float = Field(0.0, ge=0, lt=1)
    experts: Literal["none", "modality", "task", "topk"] = "none"
    experts_number: int = Field(4, ge=1, description="For topk.")
    experts_k: int = Field(1, ge=1, description="For topk.")
    checkpoint_activations: bool = False
    source_boundaries: bool = Field(True, description="Token runs of the source get <bos> and <eos>.")
    separator: bool = Field(True, description="Open slots inside a run end with <sep>.")
    lora: LoraConfig = LoraConfig()
    adapters: dict[str, dict[str, Any]] = Field(default_factory=dict, description="Adapter -> its options.")
    heads_options: dict[str, dict[str, Any]] = Field(default_factory=dict, description="Head -> its options.")
    preprocessors: dict[str, dict[str, Any]] = Field(default_factory=dict, description="Preprocessor -> its options.")
    options: dict[str, Any] = Field(default_factory=dict, description="For a backbone of a plugin.")


class GroupRule(Section):
    """Optimiser settings for parameters whose name matches."""

    pattern: str
    lr: float = Field(1.0, ge=0, description="Factor on the learning rate.")
    weight_decay: float | None = None
    freeze: bool = False


class OptimizerConfig(Section):
    name: Literal["adamw", "muon"] = "muon"
    lr: float = Field(1e-3, gt=0, description="AdamW's rate.")
    muon_lr: float = Field(2e-2, gt=0, description="Rate of matrices under Muon.")
    betas: tuple[float, float] = (0.9, 0.99)
    eps: float = 1e-8
    weight_decay: float = Field(0.01, ge=0)
    clip: float = Field(1.0, ge=0, description="Gradient norm limit; 0: none.")
    rules: tuple[GroupRule, ...] = ()


class LrConfig(Section):
    name: Literal["cosine", "polynomial", "wsd", "constant"] = "wsd"
    warmup: int | float = Field(0.05, ge=0, description="Steps, or a share of all steps if below 1.")
    decay: float = Field(0.25, ge=0, le=1, description="wsd: share of steps of the final decay.")
    end: float = Field(0.0, ge=0, description="Factor at the end.")
    power: float = 1.0


class ScheduleConfig(Section):
    name: str = Field("all", description="all, proportional, temperature, weights, round_robin, curriculum, or a plugin's.")
    options: dict[str, Any] = Field(default_factory=dict)


class CheckpointConfig(Section):
    every: int = Field(200, ge=0, description="Steps between checkpoints; 0: at the end only.")
    keep_last: int = Field(2, ge=1)
    best: str = Field("", description="Metric name that decides `best`; empty: mean validation loss.")
    higher_is_better: bool = False


class ValidationConfig(Section):
    every: int = Field(0, ge=0, description="Steps between validations; 0: at the end only.")
    samples: int = Field(64, ge=1, description="Rows of each task.")
    patience: int = Field(0, ge=0, description="Validations without improvement before stopping; 0: never.")
    generate: bool = Field(False, description="Also compute metrics by generation.")


class FaultConfig(Section):
    bad_rows: Literal["replace", "raise"] = "replace"
    bad_row_limit: int = Field(100, ge=0)
    nan: Literal["skip", "raise"] = "skip"
    nan_limit: int = Field(10, ge=0)
    out_of_memory: Literal["split", "raise"] = "split"


class TrainConfig(Section):
    """The loop."""

    steps: int = Field(1000, ge=0)
    samples: int = Field(64, gt=0, description="Samples in a step, over all tasks.")
    micro_batch_positions: int = Field(16384, gt=0, description="Most positions (source and target) in one micro-batch.")
    micro_batch_samples: int = Field(0, ge=0, description="Most samples in one micro-batch; 0: no limit.")
    packing: bool = True
    seed: int = 1
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    threads: int = Field(0, ge=0, description="CPU threads; 0: all.")
    workers: int = Field(0, ge=0, description="Data loader processes.")
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    optimizer: OptimizerConfig = OptimizerConfig()
    lr: LrConfig = LrConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    ema: float = Field(0.0, ge=0, lt=1, description="Decay of averaged weights; 0: off.")
    checkpoint: CheckpointConfig = CheckpointConfig()
    validation: ValidationConfig = ValidationConfig()
    faults: FaultConfig = FaultConfig()
    log_every: int = Field(10, ge=1)
    trackers: tuple[str, ...] = ("jsonl", "tensorboard")


class PluginsConfig(Section):
    prefer: dict[str, str] = Field(default_factory=dict, description="Name in conflict -> distribution that wins.")


class RunConfig(Section):
    """A whole run."""

    tasks: dict[str, TaskConfig] = Field(default_factory=dict)
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    generation: GenerationConfig = GenerationConfig()
    plugins: PluginsConfig = PluginsConfig()
    out: str = Field("runs/{name}", description="Run folder.")
    name: str = "run"
