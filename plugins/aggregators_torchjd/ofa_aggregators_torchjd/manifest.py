"""What this plugin offers: aggregators, for ``train.aggregator``."""

from __future__ import annotations

from ofacore.plugin import Component, ComponentManifest, Option

_PACKAGE = "ofa_aggregators_torchjd"
_ITERATIONS = Option(100, "Most iterations of its solver.", minimum=1)

MANIFEST = ComponentManifest(
    "torchjd",
    (2, 0),
    (
        Component(
            "aggregator",
            "upgrad",
            f"{_PACKAGE}.conflict:UPGrad",
            "Gradients projected so that they harm no task.",
        ),
        Component(
            "aggregator",
            "mgda",
            f"{_PACKAGE}.conflict:MGDA",
            "The shortest gradient between those of the tasks.",
            options={"iterations": _ITERATIONS},
        ),
        Component(
            "aggregator",
            "pcgrad",
            f"{_PACKAGE}.conflict:PCGrad",
            "What works against another task is taken away.",
        ),
        Component(
            "aggregator",
            "cagrad",
            f"{_PACKAGE}.conflict:CAGrad",
            "Near the mean, the gradient that helps the worst-off task; needs cvxpy and clarabel.",
            options={"c": Option(0.5, "How far from the mean, as a share of its norm.", minimum=0)},
        ),
        Component(
            "aggregator",
            "nash_mtl",
            f"{_PACKAGE}.conflict:Nash",
            "The bargaining solution between tasks; needs cvxpy and ecos.",
            options={"iterations": Option(20, "Most iterations of its solver.", minimum=1)},
        ),
        Component(
            "aggregator",
            "gradnorm",
            f"{_PACKAGE}.norms:GradNorm",
            "Gradients of equal norm, longer for tasks that have learned less.",
            options={
                "alpha": Option(0.0, "How much longer; 0: all are equally long.", minimum=0.0)
            },
        ),
        Component(
            "aggregator",
            "famo",
            f"{_PACKAGE}.losses:Famo",
            "Losses fall at one pace; costs what the sum costs.",
            options={
                "rate": Option(0.025, "Of the weights' logits.", minimum=0.0),
                "decay": Option(0.001, "Of the logits, towards equal weights.", minimum=0.0),
            },
        ),
        Component(
            "aggregator",
            "uncertainty",
            f"{_PACKAGE}.losses:Uncertainty",
            "Losses weighed by what is left uncertain; costs what the sum costs.",
            options={
                "rate": Option(
                    0.05, "Of the moving average of each task's s.", minimum=0.0, maximum=1.0
                ),
                "limit": Option(4.0, "Farthest that s goes from 0.", minimum=0.0),
            },
        ),
        Component(
            "aggregator",
            "progress",
            f"{_PACKAGE}.losses:Progress",
            "More weight for tasks that learn more slowly; costs what the sum costs.",
            options={
                "temperature": Option(0.5, "Low: weights differ more.", minimum=0.01),
                "span": Option(
                    10.0, "Steps of the short average; the long one has four times.", minimum=1.0
                ),
            },
        ),
    ),
    "Ways from the gradients of tasks to one.",
)
