"""The configuration of a run: schema, files, overrides, validation."""

from ofacore.config.loading import Loaded, load, read, read_data, read_generation, starter_config
from ofacore.config.problems import ConfigError, Place, Problem
from ofacore.config.showing import json_schema, show

__all__ = [
    "ConfigError",
    "Loaded",
    "Place",
    "Problem",
    "json_schema",
    "load",
    "read",
    "read_data",
    "read_generation",
    "show",
    "starter_config",
]
