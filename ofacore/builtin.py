"""The core's own components, announced through an entry point like those of any other distribution."""

from __future__ import annotations

from ofacore.parts.transforms import TRANSFORMS
from ofacore.plugin.manifest import CONTRACT, Component, ComponentManifest, Option

_SCHEDULES = "ofacore.train.schedules"
_EXPERTS = "ofacore.model.experts"
_TRACKERS = "ofacore.train.trackers"


def _component(kind: str, name: str, target: str, doc: str, **options: object) -> Component:
    return Component(kind, name, target, doc, options=options)


MANIFEST = ComponentManifest(
    "core",
    CONTRACT,
    (
        _component("adapter", "token", "ofacore.parts.token:TokenAdapter", "Embeds token ids by the shared table."),
        _component("head", "token", "ofacore.parts.token:TokenHead", "Logits over the blocks of a slot.", whole=False),
        _component("head", "embedding", "ofacore.parts.pooling:EmbeddingHead", "One vector for each item."),
        _component(
            "head", "pooling", "ofacore.parts.pooled:PoolingHead", "Logits of one token for a mean of positions.",
            begin=0, end=0, norm_before=False, norm_after=False, whole=False,
        ),
        _component(
            "criterion", "pooled_cross_entropy", "ofacore.parts.pooled:PooledCrossEntropy",
            "Cross-entropy over one token for each item.", label_smoothing=0.0,
        ),
        _component(
            "generator", "pooling", "ofacore.parts.pooled:PooledGenerator", "One token from the source, no decoder."
        ),
        _component(
            "criterion", "cross_entropy", "ofacore.parts.cross_entropy:CrossEntropy",
            "Cross-entropy over tokens.", label_smoothing=0.0, drop_worst_ratio=0.0,
        ),
        Component(
            "criterion", "contrastive", "ofacore.parts.contrastive:Contrastive",
            "Matches pairs within a step.", options={"temperature": 0.07}, batch_coupled=True,
        ),
        _component(
            "criterion", "self_critical", "ofacore.parts.self_critical:SelfCritical",
            "Policy gradient on drawn tokens, with a metric as reward.",
            reward="", reward_options={}, baseline="greedy", samples=1, temperature=1.0,
        ),
        _component(
            "generator", "token", "ofacore.parts.token_generator:TokenGenerator",
            "Greedy, beam and sampled decoding of tokens.",
        ),
        _component(
            "criterion", "squared_error", "ofacore.parts.regression:SquaredError", "Squared error of predicted numbers."
        ),
        _component(
            "generator", "one_shot", "ofacore.parts.regression:OneShotGenerator", "All numbers of a value in one pass."
        ),
        _component(
            "metric", "recall", "ofacore.parts.retrieval:Recall",
            "Share of rows whose partner in a contrast is among the k nearest.", k=[1, 5, 10],
        ),
        _component("schedule", "all", f"{_SCHEDULES}:All", "A fixed number of samples of every task in each step."),
        _component("schedule", "proportional", f"{_SCHEDULES}:Proportional", "Shares by the size of the data."),
        _component(
            "schedule", "temperature", f"{_SCHEDULES}:Temperature", "Shares by size to the power 1/T.", temperature=2.0
        ),
        _component("schedule", "weights", f"{_SCHEDULES}:Weights", "Shares as the tasks' weights say.", weights={}),
        _component("schedule", "round_robin", f"{_SCHEDULES}:RoundRobin", "One task in a step, in turn."),
        _component(
            "schedule", "curriculum", f"{_SCHEDULES}:Curriculum", "Shares that change along the run.",
            start={}, until={}, ramp=Option(0, "Steps, or a share of the run.", type="float", minimum=0),
        ),
        _component("aggregator", "sum", "ofacore.train.aggregation:Sum", "The sum of the gradients of all tasks."),
        _component("router", "modality", f"{_EXPERTS}:ModalityRouter", "One expert for each modality."),
        _component("router", "task", f"{_EXPERTS}:TaskRouter", "One expert for each task."),
        Component("router", "topk", f"{_EXPERTS}:TopKRouter", "Learned choice of k experts.", batch_coupled=True),
        _component("backbone", "megatron", "ofacore.model.backbone:MegatronBackbone", "Parallel transformer."),
        _component("positions", "rotary", "ofacore.model.positions:Rotary", "Rotation in three bands: t, y, x."),
        _component("positions", "untied", "ofacore.model.untied:Untied", "Learned absolute and relative biases."),
        _component("tracker", "jsonl", f"{_TRACKERS}:Jsonl", "metrics.jsonl in the run folder."),
        _component("tracker", "tensorboard", f"{_TRACKERS}:TensorBoard", "TensorBoard events in the run folder."),
        _component("tracker", "wandb", f"{_TRACKERS}:WandB", "Weights & Biases, where installed."),
        *TRANSFORMS,
    ),
    "Components that belong to no modality and no task.",
)  # fmt: skip
