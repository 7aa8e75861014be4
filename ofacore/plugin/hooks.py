"""Hooks: what a plugin of the group ``ofa.hooks`` may do along a run. pluggy calls them; we register them."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pluggy

from ofacore.plugin.errors import LoadError
from ofacore.plugin.registry import Registry

NAMESPACE = "ofa"
hookspec = pluggy.HookspecMarker(NAMESPACE)
hookimpl = pluggy.HookimplMarker(NAMESPACE)


class HookSpecs:
    """Every hook; an implementation takes any of the arguments, by name."""

    @hookspec
    def ofa_configure(self, config: Any) -> None:
        """The configuration of a run was read and checked; ``config`` is a ``RunConfig``."""

    @hookspec
    def ofa_run_start(self, run: Any) -> None:
        """Training is about to start; ``run`` is the run with its model, tasks and folder."""

    @hookspec
    def ofa_step_end(self, step: int, metrics: Mapping[str, float]) -> None:
        """A step is done; ``metrics`` maps ``split/task/metric`` to its value."""

    @hookspec
    def ofa_validation_end(self, step: int, metrics: Mapping[str, float]) -> None:
        """A validation is done."""

    @hookspec
    def ofa_checkpoint_saved(self, path: Path) -> None:
        """A checkpoint is complete in the folder ``path``."""

    @hookspec
    def ofa_run_end(self) -> None:
        """Training is over, also after an error."""


def hook_manager(registry: Registry) -> pluggy.PluginManager:
    """A manager with every usable plugin of ``ofa.hooks``; a broken one is logged and left out.

    Raises:
        LoadError: One cannot be imported or registered, and ``OFA_STRICT_PLUGINS=1``.
    """
    manager = pluggy.PluginManager(NAMESPACE)
    manager.add_hookspecs(HookSpecs)
    for row, target in registry.hook_targets():
        try:
            with contextlib.redirect_stdout(sys.stderr):
                plugin = registry.resolve(target)
            manager.register(plugin() if isinstance(plugin, type) else plugin, f"{row.distribution}:{row.name}")
        except Exception as error:
            cause = error.cause if isinstance(error, LoadError) else f"{type(error).__name__}: {error}"
            _report(LoadError(target, cause, row.name, row.distribution, "the hooks"), registry)
    return manager


def _report(problem: LoadError, registry: Registry) -> None:
    if registry.strict:
        raise problem
    logging.getLogger(__name__).warning("%s", problem)
