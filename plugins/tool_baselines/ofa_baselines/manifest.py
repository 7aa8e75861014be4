"""The baselines, and the command ``ofa baselines``."""

from ofacore.plugin import CommandManifest, Component, ComponentManifest, Option

COMMAND = CommandManifest(
    "baselines",
    (2, 0),
    "ofa_baselines.command:baselines",
    "Score quick methods of scikit-learn on the tasks of a run.",
)
MANIFEST = ComponentManifest(
    "baselines",
    (2, 0),
    (
        Component(
            "baseline",
            "common",
            "ofa_baselines.common:Common",
            "The most frequent value, the median of numbers, the mean of boxes.",
        ),
        Component(
            "baseline",
            "linear",
            "ofa_baselines.linear:Linear",
            "Logistic regression of classes, ridge regression of numbers.",
            options={"classes": Option(500, "Most classes.", minimum=2)},
        ),
        Component(
            "baseline",
            "forest",
            "ofa_baselines.forest:Forest",
            "A random forest on columns of numbers.",
            options={"trees": Option(100, "Number of trees.", minimum=1)},
        ),
        Component(
            "baseline",
            "nearest",
            "ofa_baselines.nearest:Nearest",
            "The target of the nearest training row.",
        ),
        Component(
            "baseline",
            "several",
            "ofa_baselines.several:Several",
            "Logistic regression of each label, where a row has several.",
            options={"classes": Option(200, "Most different labels.", minimum=2)},
        ),
        Component(
            "baseline",
            "shared_words",
            "ofa_baselines.contrast:SharedWords",
            "Of a contrast of texts: words that both sides share.",
        ),
        Component(
            "baseline",
            "neighbour_pairs",
            "ofa_baselines.contrast:NeighbourPairs",
            "Of a contrast: the partners of the nearest training rows.",
        ),
    ),
    "Quick methods that a score has to be compared with.",
)
