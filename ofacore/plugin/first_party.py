"""What is first-party: the commands of ``ofa`` itself, and which distribution brings what, for hints in messages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SLOT_DISTRIBUTIONS: Mapping[str, str] = MappingProxyType(
    {
        "AUDIO": "ofa-modality-speech",
        "BOX": "ofa-modality-box",
        "CATEGORY": "ofa-modality-text",
        "IMAGE": "ofa-modality-image",
        "MOTION": "ofa-modality-motion",
        "PHONE": "ofa-modality-speech",
        "PROMPT": "ofa-modality-text",
        "STRUCT": "ofa-modality-structured",
        "TEXT": "ofa-modality-text",
        "VIDEO": "ofa-modality-video",
    }
)
COMPONENT_DISTRIBUTIONS: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("backbone", "transformers"): "ofa-backbone-transformers",
        ("positions", "untied"): "ofa-positions-untied",
    }
)
"""(Kind, name) of components that presets of the core name -> the distribution that brings them."""
PLAIN_TEXT_DISTRIBUTION = "ofa-modality-text"
CORE_DISTRIBUTION = "ofacore"

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "train": "Train a generalist on the tasks of a configuration, or on the starter tasks.",
        "watch": "Follow a run that trains elsewhere.",
        "eval": "Score a trained run on its tasks.",
        "infer": "Answer one instruction with a trained run.",
        "predict": "Answer every row of a file, a folder or a stream with a trained run.",
        "explain": "Show what an instruction becomes.",
        "tasks": "Task presets that are installed.",
        "plugins": "Plugins that are installed.",
        "config": "Show or check a configuration, or print its schema.",
        "data": "Fetch starter data, check the rows of a file.",
        "checkpoint": "Convert checkpoints between their forms.",
        "doctor": "Report on this machine and installation.",
    }
)
"""Command of ``ofa`` itself -> its line in ``ofa --help``. No plugin can replace one."""
COMMAND_DISTRIBUTIONS: Mapping[str, str] = MappingProxyType(
    {
        "baselines": "ofa-baselines",
        "export": "ofa-foreign",
        "import": "ofa-foreign",
        "merge": "ofa-merge",
        "plan-layout": "ofa-planner",
        "plugins check": "ofa-kit",
        "plugins doctor": "ofa-kit",
        "plugins new": "ofa-kit",
        "report": "ofa-report",
        "report retention": "ofa-retention",
        "train-tokenizer": "ofa-modality-image",
    }
)
"""Command -> first-party distribution that brings it. Add a line with each such package."""
SUBCOMMANDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "checkpoint": ("convert",),
        "config": ("show", "check", "schema"),
        "data": ("fetch", "check"),
        "plugins": ("list", "show"),
        "tasks": ("list",),
    }
)
"""Command of ``ofa`` that has commands of its own -> their names; plugins may add others below it."""
WITH_ARGUMENTS: frozenset[str] = frozenset({"report"})
"""Commands that take arguments of their own, and below which plugins add commands all the same."""
