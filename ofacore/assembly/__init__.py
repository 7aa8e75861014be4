"""From a configuration to everything around the weights: plans, data, fitted preprocessors, vocabulary, encoders."""

from ofacore.assembly.assembly import Assembly
from ofacore.assembly.datasets import TaskData, open_tasks

__all__ = ["Assembly", "TaskData", "open_tasks"]
