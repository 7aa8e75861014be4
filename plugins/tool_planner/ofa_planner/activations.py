"""Bytes that the forward pass keeps for the backward pass, operation by operation.

Counted: what autograd saves of every layer, embedding and output. Left out: copies of positions into rows where a
micro-batch mixes lengths, look-ups in planes of relative positions, and what plugins' adapters and heads keep.
"""

from __future__ import annotations

from ofa_planner.choice import Choice, stage_plan
from ofa_planner.work import EXPLICIT_UP_TO, LOGITS_BUDGET, has_features, logits_bytes
from ofa_planner.workload import Workload

_STATISTICS = 8
"""Bytes of mean and deviation of a layer norm, for each position; of an RMS norm half as many."""


def _shared(work: Workload, choice: Choice) -> float:
    """Bytes of a state [H] between the large matrices, on one process."""
    parts = choice.layout.tensor if choice.layout.sequence else 1
    return work.width * work.sizes.hidden / parts


def _split(work: Workload, choice: Choice) -> float:
    """Bytes of a state [H] within attention, on one process."""
    return work.width * work.sizes.hidden / choice.layout.tensor


def _statistics(work: Workload, choice: Choice) -> float:
    parts = choice.layout.tensor if choice.layout.sequence else 1
    return _STATISTICS / (1 if work.model.norm_type == "layernorm" else 2) / parts


def _branch(work: Workload, choice: Choice) -> float:
    """Around a sublayer, for each position: norm input, its statistics and output, dropout mask, output norm."""
    config, state, statistics = work.model, _shared(work, choice), _statistics(work, choice)
    found = 2 * state + statistics + (state if config.dropout else 0)
    return (
        found
        + _again(work, state)
        + (state + statistics + _again(work, state) if config.scale_attn else 0)
    )


def _again(work: Workload, state: float) -> float:
    """An RMS norm, unlike a layer norm, keeps what it normalised before it is scaled, too."""
    return state if work.model.norm_type == "rmsnorm" else 0.0


def _heads(work: Workload, choice: Choice, queries: int, keys: int, rotated: bool) -> float:
    """Within attention, for one sample; what the projections made is counted by the caller."""
    config, split, heads = work.model, _split(work, choice), work.sizes.heads / choice.layout.tensor
    kept = split * queries
    if config.qk_norm:
        kept += _STATISTICS * heads * (queries + keys)
    if config.scale_heads:
        kept += split * queries
    if queries * keys <= EXPLICIT_UP_TO:
        times = 3 if config.attention_dropout else 1
        wide = 2 if has_features(work) else 1
        return (
            kept
            + split * (wide * (queries + keys) + keys)
            + heads * queries * keys * work.width * times
        )
    if has_features(work):
        copies = 2
    elif rotated or config.qk_norm:
        copies = 1
    else:
        copies = 0
    return kept + 4 * heads * queries + copies * split * (queries + keys)


def _projected(work: Workload, queries: int, keys: int) -> bool:
    """Whether queries, keys and values are kept as they were projected."""
    return work.model.qk_norm or queries * keys > EXPLICIT_UP_TO


def _feed_forward(work: Workload, choice: Choice) -> float:
    """For each position."""
    config = work.model
    width = work.width * sum(work.ffn_widths) / choice.layout.tensor
    inner = width * (2 + (1 if config.activation_dropout and not config.scale_fc else 0))
    state = _shared(work, choice)
    experts = (3 * work.width * work.sizes.hidden * work.copies) if work.experts else 0
    around = 2 * state + _statistics(work, choice) + (state if config.dropout else 0)
    return inner + experts + around + _again(work, state)


def encoder_layer(work: Workload, choice: Choice) -> float:
    """Bytes of one encoder layer for one sample."""
    return _self_attention(work, choice, work.source) + work.source * _feed_forward(work, choice)


def _self_attention(work: Workload, choice: Choice, length: int) -> float:
    kept = _heads(work, choice, length, length, work.scheme.rotates)
    if _projected(work, length, length):
        kept += 3 * _split(work, choice) * length
    return kept + length * _branch(work, choice)


def decoder_layer(work: Workload, choice: Choice) -> float:
    """Bytes of one decoder layer for one sample."""
    source, target = work.source, work.target
    cross = _heads(work, choice, target, source, False) + target * _branch(work, choice)
    if _projected(work, target, source):
        cross += _split(work, choice) * (target + 2 * source)
    return _self_attention(work, choice, target) + cross + target * _feed_forward(work, choice)


def embedding(work: Workload, choice: Choice, positions: int) -> float:
    """Bytes of a side's embedding for one sample: ids, norm, dropout."""
    config = work.model
    state = work.width * work.sizes.hidden
    kept = 8.0 + (state if config.dropout else 0)
    return positions * (kept + (state + _STATISTICS if config.layernorm_embedding else 0))


def side_wide(work: Workload, queries: int, keys: int) -> float:
    """Bytes that all layers of a side share, for one sample: rotation, masks that the fused kernel keeps, places."""
    scheme, found = work.scheme, 0.0
    if scheme.rotates and queries == keys:
        found += 4.0 * work.sizes.head_size * queries
    if work.target == queries == keys > EXPLICIT_UP_TO**0.5 and not scheme.biased:
        found += queries * keys * work.width
    return found + scheme.kept(queries, keys, work.width)


def output(work: Workload, choice: Choice) -> float:
    """Bytes of the output of a micro-batch: states, labels, and logits as far as they are kept."""
    rows = choice.micro_batch * work.target
    logits = logits_bytes(work, choice.micro_batch, choice.layout.tensor)
    return rows * (work.width * work.sizes.hidden + 3 * 8 + 16.0) + (
        logits if logits <= LOGITS_BUDGET else 0
    )


def of_stage(work: Workload, choice: Choice, stage: int) -> tuple[float, float]:
    """Bytes that a stage keeps for one micro-batch, and those of its largest layer while it computes."""
    plan = stage_plan(work, choice.layout.pipeline)
    encoder, decoder = plan.layers("encoder", stage), plan.layers("decoder", stage)
    of_encoder, of_decoder = encoder_layer(work, choice), decoder_layer(work, choice)
    if choice.recompute:
        state = _shared(work, choice)
        kept = state * (len(encoder) * work.source + len(decoder) * work.target)
    else:
        kept = len(encoder) * of_encoder + len(decoder) * of_decoder
    kept += _around(work, choice, stage)
    most_of_encoder = of_encoder if encoder else 0.0
    most_of_decoder = of_decoder if decoder else 0.0
    largest = max(most_of_encoder, most_of_decoder)
    of_output = output(work, choice) if stage == plan.last else 0.0
    found = choice.micro_batch * kept + of_output
    return found, choice.micro_batch * largest


def _around(work: Workload, choice: Choice, stage: int) -> float:
    """Everything outside of layers but the output, for one sample."""
    plan, state = stage_plan(work, choice.layout.pipeline), work.width * work.sizes.hidden
    encoder, decoder = plan.layers("encoder", stage), plan.layers("decoder", stage)
    kept = embedding(work, choice, work.source) if stage == 0 else state * work.source
    final = _shared(work, choice) + _statistics(work, choice) if work.model.norm == "pre" else 0.0
    if encoder:
        kept += side_wide(work, work.source, work.source)
        kept += final * work.source if encoder.stop == plan.encoder_layers else 0.0
    if decoder:
        begins = decoder.start == 0
        kept += embedding(work, choice, work.target) if begins else state * work.target
        kept += side_wide(work, work.target, work.target) + side_wide(
            work, work.target, work.source
        )
        kept += state * work.source
        kept += final * work.target if decoder.stop == plan.decoder_layers else 0.0
    return kept
