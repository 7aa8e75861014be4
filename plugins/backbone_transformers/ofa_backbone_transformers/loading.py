"""A model of transformers taken apart: layers that read states, and rows of tokens."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ofa_backbone_transformers.folder import BackboneError, architecture, folder_of, prompt_tokens
from ofacore.parts import PretrainedError, pretrained, quiet_transformers

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from ofacore.protocols import Options

_TOLERANCE = 1e-3
"""Share of the largest logit that the check of a model allows between its own way and ours."""


@dataclass(frozen=True)
class Parts:
    """A model without its token tables.

    Attributes:
        encoder: Layers of the source; None of a decoder alone.
        decoder: Layers of the target.
        config: Its configuration.
        scale_source: Factor on embeddings before the first layer of the encoder.
        scale_target: The same of the decoder.
        scale_out: Factor on hidden states before logits.
        prompt: [p, H]: rows of what the decoder reads before the token that a target begins with; None: nothing.
        rows: ``table`` [V, H], ``output`` [V, H] where untied, ``bias`` [V] where there is one; empty without weights.
    """

    encoder: nn.Module | None
    decoder: nn.Module
    config: PretrainedConfig
    scale_source: float
    scale_target: float
    scale_out: float
    rows: Mapping[str, Tensor]
    prompt: Tensor | None = None


def parts_of(options: Options) -> Parts:
    """The model in the folder that the options name, or one without weights of the configuration that they hold.

    Raises:
        BackboneError: The folder cannot be read, or the model cannot be a backbone.
    """
    config = architecture(options)
    with quiet_transformers():
        if options.get("config"):
            parts = _taken_apart(class_of(config)._from_config(config, dtype=torch.float32), False)
            return _with_prompt(parts, options)
        model = _loaded(options, config)
        probe = _Probe(model)
        parts = _taken_apart(model, True)
    probe.check(parts, str(folder_of(options)))
    return _with_prompt(parts, options)


def _with_prompt(parts: Parts, options: Options) -> Parts:
    """With the rows of what the decoder reads first; zeros without weights."""
    ahead = prompt_tokens(options)[:-1]
    if not ahead:
        return parts
    zeros = torch.zeros(len(ahead), parts.config.hidden_size)
    prompt = parts.rows["table"][ahead].clone() if parts.rows else zeros
    return replace(parts, prompt=prompt)


def cache_name(layers: nn.Module) -> str:
    """What a model calls the cache that it takes: its name changed."""
    known = inspect.signature(layers.forward).parameters
    return "cache" if "cache" in known else "past_key_values"


def class_of(config: PretrainedConfig) -> Any:
    """The class of a language model of `transformers`.

    Raises:
        BackboneError: There is none that can be a backbone.
    """
    from transformers import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
        WhisperForConditionalGeneration,
    )

    mapping = (
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING
        if config.is_encoder_decoder
        else MODEL_FOR_CAUSAL_LM_MAPPING
    )
    if config.model_type == "whisper":
        return WhisperForConditionalGeneration
    kind = str(config.model_type)
    if type(config) not in mapping:
        raise BackboneError(
            f"a {kind} is no language model: transformers has neither AutoModelForSeq2SeqLM nor "
            "AutoModelForCausalLM for it"
        )
    found = mapping[type(config)]
    if getattr(found, "_is_stateful", False):
        raise BackboneError(
            f"a {kind} keeps a state instead of keys and values, which samples side by side would share; "
            "choose a model with attention alone"
        )
    return found


def _loaded(options: Options, config: PretrainedConfig) -> PreTrainedModel:
    folder, kind = str(folder_of(options)), class_of(config)
    try:
        model, info = pretrained(kind, folder, config, use_safetensors=True)
    except PretrainedError as error:
        raise BackboneError(str(error)) from error
    if info["missing_keys"]:
        raise BackboneError(f"the weights in '{folder}' lack {sorted(info['missing_keys'])[0]}")
    return model.eval()  # type: ignore[no-any-return]


def _taken_apart(model: PreTrainedModel, weights: bool) -> Parts:
    config = model.config
    table, output = model.get_input_embeddings(), model.get_output_embeddings()
    if not isinstance(table, nn.Embedding) or not isinstance(output, nn.Linear):
        raise BackboneError(f"a {config.model_type} has no table of tokens that could be shared")
    if table.weight.shape != output.weight.shape or table.weight.shape[1] != config.hidden_size:
        raise BackboneError(
            f"a {config.model_type} with rows of {list(table.weight.shape)} for inputs, {list(output.weight.shape)} "
            f"for outputs and states of {config.hidden_size}: these must be alike"
        )
    rows = _rows(model, table, output) if weights else {}
    encoder = model.get_encoder() if config.is_encoder_decoder else None
    decoder = model.get_decoder() if config.is_encoder_decoder else model.base_model
    model.eval()
    source = 1.0 if encoder is None else _scale_in(encoder, table, config)
    target = _scale_in(decoder, table, config)
    for stack in (encoder, decoder):
        if stack is not None:
            _without_table(stack, table)
    return Parts(encoder, decoder, config, source, target, _scale_out(config), rows)


@torch.no_grad()
def _scale_in(stack: Any, table: nn.Embedding, config: PretrainedConfig) -> float:
    """What embeddings are multiplied by outside of a stack: found by trying, as some do it inside.

    Raises:
        BackboneError: It is no factor that a model says.
    """
    if "input_ids" not in inspect.signature(stack.forward).parameters:
        return 1.0
    ids = _few_ids(table)
    memory = torch.zeros(1, 1, config.hidden_size)
    more = {"encoder_hidden_states": memory} if config.is_encoder_decoder else {}
    more = more if "encoder_hidden_states" in inspect.signature(stack.forward).parameters else {}
    wanted = stack(input_ids=ids, **more).last_hidden_state
    said = [getattr(one, "embed_scale", None) for one in (table, stack)]
    for factor in (1.0, *said, getattr(config, "embedding_multiplier", None)):
        if factor is None:
            continue
        states = table.weight[ids] * float(factor)
        found = stack(inputs_embeds=states, **more).last_hidden_state
        if torch.allclose(found, wanted, rtol=1e-4, atol=1e-4):
            return float(factor)
    raise BackboneError(
        f"a {config.model_type} does something to its embeddings that is not known here; choose another model"
    )


def _few_ids(table: nn.Embedding) -> Tensor:
    """int64 [1, 4]: some tokens to try with."""
    return torch.arange(1, 5).clamp(max=len(table.weight) - 1)[None]


def _rows(model: PreTrainedModel, table: nn.Embedding, output: nn.Linear) -> dict[str, Tensor]:
    rows = {"table": table.weight.detach().clone()}
    if output.weight is not table.weight:
        rows["output"] = output.weight.detach().clone()
    bias = getattr(model, "final_logits_bias", None)
    bias = output.bias if bias is None else bias
    if bias is not None and bool(bias.any()):
        rows["bias"] = bias.detach().reshape(-1).clone()
    return rows


def _without_table(stack: nn.Module, table: nn.Embedding) -> None:
    """Take the token table out of a stack: states come from outside."""
    for module in list(stack.modules()):
        for name, child in list(module.named_children()):
            same = isinstance(child, nn.Embedding) and child.weight.shape == table.weight.shape
            if child is table or (same and name in ("embed_tokens", "shared")):
                setattr(module, name, nn.Identity())


def _scale_out(config: PretrainedConfig) -> float:
    if getattr(config, "scale_decoder_outputs", False):
        return float(config.hidden_size**-0.5)
    factor = getattr(config, "logit_scale", None) or getattr(config, "lm_head_multiplier", None)
    return float(factor or 1.0) / float(getattr(config, "logits_scaling", None) or 1.0)


class _Probe:
    """Logits of a few tokens, by the model itself; taken before it is taken apart."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.ids = _few_ids(model.get_input_embeddings())
        self.logits: Tensor | None = None
        encodes = model.config.is_encoder_decoder
        if encodes and "input_ids" not in inspect.signature(model.forward).parameters:
            return
        with torch.no_grad():
            given = {"decoder_input_ids": self.ids} if encodes else {}
            self.logits = model(input_ids=self.ids, use_cache=False, **given).logits[0]

    @torch.no_grad()
    def check(self, parts: Parts, place: str) -> None:
        """Make sure that the parts give the same.

        Raises:
            BackboneError: They do not.
        """
        if self.logits is None:
            return
        states = parts.rows["table"][self.ids]
        given: dict[str, Any] = {"inputs_embeds": states * parts.scale_target, "use_cache": False}
        if parts.encoder is not None:
            memory = parts.encoder(inputs_embeds=states * parts.scale_source).last_hidden_state
            given["encoder_hidden_states"] = memory
        hidden = parts.decoder(**given).last_hidden_state[0] * parts.scale_out
        found = hidden @ parts.rows.get("output", parts.rows["table"]).T
        found = found + parts.rows["bias"] if "bias" in parts.rows else found
        cap = getattr(parts.config, "final_logit_softcapping", None)
        found = found if cap is None else torch.tanh(found / cap) * cap
        off = float((found - self.logits).abs().max())
        if not off <= _TOLERANCE * (1 + float(self.logits.abs().max())):
            raise BackboneError(
                f"'{place}': a {parts.config.model_type} computes something around its layers that is not known here "
                f"(logits differ by {off:.2g}); choose another model"
            )
