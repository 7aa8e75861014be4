"""The core's own components, announced through an entry point like those of any other distribution."""

from __future__ import annotations

from ofacore.components.tokens.search_options import SEARCH_OPTIONS
from ofacore.components.transforms import TRANSFORMS
from ofacore.plugin.manifest import CONTRACT, Component, ComponentManifest, Option

_SCHEDULES = "ofacore.components.schedules"
_ROUTERS = "ofacore.model.backbone.routing"
_TRACKERS = "ofacore.components.trackers"


_LABEL_SMOOTHING = Option(
    0.0,
    "Share of the target that is spread evenly over all tokens; `train.label_smoothing` sets it for all criteria.",
    minimum=0,
    maximum=1,
)
_WHOLE = Option(False, "The tokens of all blocks compete, not those of the slot alone.")
_POOLING = {
    "begin": Option(0, "First position of the mean, counted within the item.", minimum=0),
    "end": Option(
        0, "Last position of the mean, itself included; -1: all that follow.", minimum=-1
    ),
    "norm_before": Option(False, "Layer norm of each position."),
    "norm_after": Option(False, "Layer norm of the mean."),
    "whole": _WHOLE,
}
_SELF_CRITICAL = {
    "reward": Option(
        "", "A metric that gives one number for each sample; empty: the task's first on the slot."
    ),
    "reward_options": Option({}, "Options of that metric."),
    "baseline": Option(
        "greedy",
        "What the reward is compared with: the model's own greedy answer, the mean of a row's others, nothing.",
        choices=("greedy", "mean", "none"),
    ),
    "samples": Option(1, "Sequences drawn for each row; the baseline `mean` needs 2.", minimum=1),
    "temperature": Option(1.0, "Of the draw.", minimum=1e-3, maximum=1e3),
}
_CURRICULUM = {
    "start": Option(
        {}, "Task -> step at which it joins, or a share of the run below 1; those not named: 0."
    ),
    "until": Option(
        {},
        "Task -> step at which it leaves, or a share of the run below 1; those not named: never.",
    ),
    "ramp": Option(
        0,
        "Steps, or a share of the run below 1, over which the weight of a task that joins grows.",
        "float",
        minimum=0,
    ),
}
_RECALL_K = Option(
    [1, 5, 10],
    "How many are looked at: one number, or several, of which the first is the score.",
    "any",
)
_WANDB = {
    "project": Option("ofacore", "Project that the run belongs to."),
    "mode": Option(
        None,
        "Whether records are sent; unset: as the environment says.",
        "str",
        choices=("online", "offline", "disabled"),
    ),
}


def _component(kind: str, name: str, target: str, doc: str, **options: Option) -> Component:
    return Component(kind, name, target, doc, options=options)


MANIFEST = ComponentManifest(
    "core",
    CONTRACT,
    (
        _component(
            "adapter",
            "token",
            "ofacore.components.tokens.token_model:TokenAdapter",
            "Embeds token ids by the shared table.",
        ),
        _component(
            "head",
            "token",
            "ofacore.components.tokens.token_model:TokenHead",
            "Logits over the blocks of a slot.",
            whole=_WHOLE,
        ),
        _component(
            "head",
            "embedding",
            "ofacore.components.vectors.pooling:EmbeddingHead",
            "One vector for each item.",
        ),
        _component(
            "head",
            "pooling",
            "ofacore.components.vectors.pooled:PoolingHead",
            "Logits of one token for a mean of positions.",
            **_POOLING,
        ),
        _component(
            "criterion",
            "pooled_cross_entropy",
            "ofacore.components.vectors.pooled:PooledCrossEntropy",
            "Cross-entropy over one token for each item.",
            label_smoothing=_LABEL_SMOOTHING,
        ),
        _component(
            "generator",
            "pooling",
            "ofacore.components.vectors.pooled:PooledGenerator",
            "One token from the source, no decoder.",
            n_best=SEARCH_OPTIONS["n_best"],
        ),
        _component(
            "criterion",
            "cross_entropy",
            "ofacore.components.tokens.cross_entropy:CrossEntropy",
            "Cross-entropy over tokens.",
            label_smoothing=_LABEL_SMOOTHING,
            drop_worst_ratio=Option(
                0.0,
                "Share of an item's positions that is left out: those with the largest loss.",
                minimum=0,
                maximum=1,
            ),
        ),
        Component(
            "criterion",
            "contrastive",
            "ofacore.components.vectors.contrastive:Contrastive",
            "Matches pairs within a step.",
            batch_coupled=True,
            options={
                "temperature": Option(0.07, "What it starts with; it is learned.", minimum=0.01)
            },
        ),
        _component(
            "criterion",
            "self_critical",
            "ofacore.components.tokens.self_critical:SelfCritical",
            "Policy gradient on drawn tokens, with a metric as reward.",
            **_SELF_CRITICAL,
        ),
        Component(
            "generator",
            "token",
            "ofacore.components.tokens.token_generator:TokenGenerator",
            "Greedy, beam and sampled decoding of tokens.",
            options=SEARCH_OPTIONS,
            check="ofacore.parts:check_search",
        ),
        _component(
            "criterion",
            "squared_error",
            "ofacore.components.vectors.regression:SquaredError",
            "Squared error of predicted numbers.",
        ),
        _component(
            "generator",
            "one_shot",
            "ofacore.components.vectors.regression:OneShotGenerator",
            "All numbers of a value in one pass.",
        ),
        _component(
            "metric",
            "recall",
            "ofacore.components.vectors.retrieval:Recall",
            "Share of rows whose partner in a contrast is among the k nearest.",
            k=_RECALL_K,
        ),
        _component(
            "schedule",
            "all",
            f"{_SCHEDULES}:All",
            "A fixed number of samples of every task in each step.",
        ),
        _component(
            "schedule",
            "proportional",
            f"{_SCHEDULES}:Proportional",
            "Shares by the size of the data.",
        ),
        _component(
            "schedule",
            "temperature",
            f"{_SCHEDULES}:Temperature",
            "Shares by size to the power 1/T.",
            temperature=Option(2.0, "T; 1 is proportional, more is more even.", minimum=1e-3),
        ),
        _component(
            "schedule",
            "weights",
            f"{_SCHEDULES}:ByWeights",
            "Shares as the tasks' weights say.",
            weights=Option(
                {}, "Task -> weight, in place of the task's own; those not named keep theirs."
            ),
        ),
        _component(
            "schedule", "round_robin", f"{_SCHEDULES}:RoundRobin", "One task in a step, in turn."
        ),
        _component(
            "schedule",
            "curriculum",
            f"{_SCHEDULES}:Curriculum",
            "Shares that change along the run.",
            **_CURRICULUM,
        ),
        _component(
            "aggregator",
            "sum",
            "ofacore.training.step.aggregation:Sum",
            "The sum of the gradients of all tasks.",
        ),
        _component(
            "router", "modality", f"{_ROUTERS}:ModalityRouter", "One expert for each modality."
        ),
        _component("router", "task", f"{_ROUTERS}:TaskRouter", "One expert for each task."),
        Component(
            "router",
            "topk",
            f"{_ROUTERS}:TopKRouter",
            "Learned choice of k experts.",
            batch_coupled=True,
        ),
        Component(
            "backbone",
            "megatron",
            "ofacore.model.backbone.megatron:MegatronBackbone",
            "Parallel transformer.",
            divides=("tensor", "sequence", "pipeline", "expert", "fsdp"),
        ),
        _component(
            "positions",
            "rotary",
            "ofacore.model.backbone.positions:Rotary",
            "Rotation in three bands: t, y, x.",
            base=Option(
                10_000.0, "A position turns the slowest features by about one over this.", minimum=1
            ),
        ),
        _component("tracker", "jsonl", f"{_TRACKERS}:Jsonl", "metrics.jsonl in the run folder."),
        _component(
            "tracker",
            "tensorboard",
            f"{_TRACKERS}:TensorBoard",
            "TensorBoard events in the run folder.",
        ),
        _component(
            "tracker", "wandb", f"{_TRACKERS}:WandB", "Weights & Biases, where installed.", **_WANDB
        ),
        *TRANSFORMS,
    ),
    "Components that belong to no modality and no task.",
)
