"""The schema of a run. Every key is checked before any work; unknown keys are errors."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ofacore.config.closed_values import closed_values
from ofacore.config.preset_options import with_moved_keys, with_named_backbone


def _compiles(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from None
    return text


def _names_a_folder(text: str) -> str:
    try:
        if text.format(name="run").strip():
            return text
    except (KeyError, IndexError, ValueError, AttributeError):
        pass
    raise ValueError("a folder, in which {name} and nothing else stands for the name of the run")


def _decodes(name: str) -> str:
    try:
        "".encode(name or "utf-8")
    except (LookupError, ValueError):
        raise ValueError(
            "an encoding of text that Python knows, such as cp1252 or shift_jis"
        ) from None
    return name


def _unescaped(text: Any) -> Any:
    """A shell passes a tab on as it is written in YAML."""
    return "\t" if text == "\\t" else text


Pattern = Annotated[str, AfterValidator(_compiles)]
"""A regular expression."""
Character = Annotated[
    str, BeforeValidator(_unescaped), Field(max_length=1, pattern=r"^[\x00-\x7f]?$")
]
Encoding = Annotated[str, AfterValidator(_decodes)]
Empty = Literal["text", "absent"]
Share = Annotated[float, Field(ge=0, lt=1)]


def _without_numpy(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.tolist() if hasattr(value, "tolist") else value
        for name, value in values.items()
    }


GenerationValues = Annotated[dict[str, Any], AfterValidator(_without_numpy)]
"""Option of generation -> value; which there are say the generators."""
Factor = Annotated[float, Field(ge=0)]
Epochs = Annotated[float, Field(gt=0, le=10**9)]
ClassWeights = Literal["balanced"] | dict[str, Factor]
"""``balanced``: each class in inverse proportion to its rows; or value -> factor."""
ClosedValues = Annotated[Any, BeforeValidator(closed_values)]
"""A list of plain values, a file with one a line, or {column: name}."""


class Section(BaseModel):
    """Base of every section: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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


class LoraConfig(Section):
    """Low-rank updates of linear layers."""

    rank: int = Field(0, ge=0, description="0: off.")
    per: Literal["all", "task"] = Field(
        "all",
        description="all: one update of a linear for all tasks; task: one for each, in the backbone alone.",
    )
    alpha: float = Field(16.0, description="The update is scaled by alpha / rank.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on the input of the update.")
    targets: tuple[Pattern, ...] = Field((r".*",), description="Patterns of the linears' names.")


class PrefixConfig(Section):
    """Prefix tuning: learned keys and values before those of each attention; all else is frozen."""

    length: int = Field(0, ge=0, description="Number of keys of each attention; 0: off.")
    per: Literal["all", "task"] = Field(
        "all", description="all: the same for all tasks; task: each task has its own."
    )


class ModelConfig(Section):
    """The universal model. Unset sizes come from the preset."""

    preset: str = Field(
        "tiny",
        description="Named sizes: tiny, small, base, large, huge; starter, that of the built-in runs; of OFA ofa-tiny, "
        "ofa-medium, ofa-base, ofa-large, ofa-huge, ofa-6b, ofa-8b, ofa-10b; of OFASys ofa-asr-small and "
        "ofa-asr-base.",
    )
    backbone: str = Field(
        "megatron",
        description="Name of an installed backbone; or {name: ..., OPTION: ...}, with its options.",
    )
    hidden: int | None = Field(None, gt=0, description="Width.")
    ffn: int | None = Field(None, gt=0, description="Width of the feed-forward layers.")
    heads: int | None = Field(None, gt=0, description="Attention heads.")
    encoder_layers: int | None = Field(None, ge=0, description="Layers of the encoder.")
    decoder_layers: int | None = Field(None, ge=0, description="Layers of the decoder.")
    positions: str = Field("rotary", description="Name of an installed position scheme.")
    positions_options: dict[str, Any] = Field(
        default_factory=dict,
        description="Options of the position scheme; as `options: {positions/NAME: {...}}`.",
    )
    max_positions: int = Field(1024, gt=0, description="Most positions along one axis.")
    norm: Literal["pre", "post"] = Field(
        "pre", description="Normalisation before or behind each sublayer."
    )
    norm_type: Literal["layernorm", "rmsnorm"] = Field(
        "layernorm", description="Kind of normalisation."
    )
    activation: Literal["gelu", "relu", "silu"] = Field(
        "gelu", description="Of the feed-forward layers."
    )
    qk_norm: bool = Field(True, description="Normalise queries and keys of each head.")
    scale_attn: bool = Field(False, description="Normalise the output of attention.")
    scale_fc: bool = Field(False, description="Normalise inside the feed-forward layers.")
    scale_heads: bool = Field(False, description="A learned factor on each attention head.")
    scale_resids: bool = Field(False, description="A learned factor on each residual connection.")
    attn_scale_factor: float = Field(
        1.0, gt=0, description="Scores are divided by the root of the head's width times this."
    )
    layernorm_embedding: bool = Field(True, description="Normalise embeddings.")
    norm_per_adapter: bool = Field(
        False, description="Each adapter has its own normalisation of embeddings."
    )
    type_embedding: bool = Field(True, description="A learned vector for each adapter and side.")
    target_type_embedding: bool = Field(True, description="False: for adapters of the source only.")
    scale_embedding: bool = Field(
        False, description="Embeddings are multiplied by the root of the width."
    )
    output_bias: bool = Field(
        False, description="A fixed number for each token is added to its logit."
    )
    tied_head: bool = Field(
        True, description="The vocabulary head shares the table of the embeddings."
    )
    dropout: float = Field(
        0.1, ge=0, lt=1, description="Dropout on embeddings and residual branches."
    )
    attention_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on attention weights.")
    activation_dropout: float = Field(
        0.0, ge=0, lt=1, description="Dropout behind the activation of the feed-forward layers."
    )
    encoder_drop_path: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Probability of skipping a sublayer, rising to this at the last encoder layer.",
    )
    decoder_drop_path: float = Field(
        0.0, ge=0, lt=1, description="As encoder_drop_path, in the decoder."
    )
    experts: str = Field(
        "none",
        description="Feed-forward experts: none, or an installed router: modality or task (one for each), topk (a "
        "learned choice), or a plugin's.",
    )
    experts_number: int = Field(
        4, ge=1, description="Number of experts, where the router does not say what they are."
    )
    experts_k: int = Field(
        1,
        ge=1,
        description="Experts that each position goes through, of routers that choose several.",
    )
    experts_balance: float = Field(
        0.01,
        ge=0,
        description="Weight of a learned router's loss, which spreads positions over the experts; 0: none.",
    )
    checkpoint_activations: bool = Field(
        False, description="Recompute activations in the backward pass: less memory, more time."
    )
    source_boundaries: bool | Literal["bos", "eos"] = Field(
        True,
        description="Token runs of the source get `<bos>` and `<eos>`; bos: the first run gets `<bos>`, no other gets "
        "anything; eos: the last one gets `<eos>`.",
    )
    separator: bool = Field(True, description="Open slots inside a run end with `<sep>`.")
    target_start: Literal["bos", "eos", "eos bos"] = Field(
        "bos",
        description="What the decoder reads first; BART's reads `<eos>`, and behind it a forced `<bos>`.",
    )
    lora: LoraConfig = Field(LoraConfig(), description="Low-rank updates of linear layers.")
    prefix: PrefixConfig = Field(
        PrefixConfig(), description="Learned keys and values before those of each attention."
    )
    adapters: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Older spelling of `options: {adapter/NAME: {...}}`."
    )
    heads_options: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Older spelling of `options: {head/NAME: {...}}`."
    )
    preprocessors: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Older spelling of `options: {preprocessor/NAME: {...}}`."
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Older spelling of `options: {backbone/NAME: {...}}`, of the chosen backbone.",
    )

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, values: Any) -> Any:
        """Keys of before, at their new place."""
        return with_moved_keys(with_named_backbone(values))


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
    muon_precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="Format in which Muon makes matrices orthogonal, on every processor."
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
    aggregator: AggregatorConfig = Field(
        AggregatorConfig(),
        description="How the gradients of the tasks become one; a name alone will do.",
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
