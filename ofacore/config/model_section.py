"""The section of the model. Every key is checked before any work."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from ofacore.config.preset_options import with_moved_keys, with_named_backbone
from ofacore.config.section import Pattern, Section


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
    experts_ffn: int | None = Field(
        None, gt=0, description="Width of each expert; None: that of a dense feed-forward layer."
    )
    experts_shared: int = Field(
        0,
        ge=0,
        description="Width of a feed-forward network beside the experts that all positions go through; 0: none.",
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
