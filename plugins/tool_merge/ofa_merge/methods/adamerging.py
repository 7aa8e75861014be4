"""AdaMerging: task arithmetic whose weights are learned from unlabelled rows."""

from ofa_merge.method import Method
from ofa_merge.methods.task_arithmetic import merge
from ofacore.plugin import Option

METHOD = Method(
    "adamerging",
    "Task arithmetic, its weights learned by making answers from closed sets sure.",
    "Yang et al. 2024, AdaMerging",
    merge,
    weight=0.3,
    options={
        "per": Option("layer", "What has weights of its own.", choices=("layer", "run")),
        "steps": Option(20, "Steps of learning.", minimum=1),
        "rate": Option(0.02, "Learning rate of Adam.", minimum=0.0),
        "rows": Option(16, "Validation rows of each task in a step.", minimum=1),
    },
    learns=True,
)
