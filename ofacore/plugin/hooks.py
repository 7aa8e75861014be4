"""Hooks: what a plugin of the group ``ofa.hooks`` may do along a run. pluggy calls them; we register them."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pluggy

from ofacore.plugin.plugin_errors import HookError, LoadError
from ofacore.plugin.registry import Registry

NAMESPACE = "ofa"
hookspec = pluggy.HookspecMarker(NAMESPACE)
hookimpl = pluggy.HookimplMarker(NAMESPACE)


@dataclass(frozen=True)
class TrainingRun:
    """What `HookSpecs.ofa_run_start` gets."""

    folder: Path
    """Run folder: checkpoints, ``metrics.jsonl``."""
    config: Any
    """The ``RunConfig``."""
    tasks: tuple[str, ...]
    """Names of its tasks."""
    model: Any
    """The ``nn.Module`` that is trained."""


class HookSpecs:
    """Every hook; an implementation takes any of the arguments, by name."""

    @hookspec
    def ofa_configure(self, config: Any) -> None:
        """The configuration of a run was read and checked; ``config`` is a ``RunConfig``."""

    @hookspec
    def ofa_run_start(self, run: Any) -> None:
        """Training is about to start; ``run`` is a `TrainingRun`."""

    @hookspec
    def ofa_step_end(self, step: int, metrics: Mapping[str, float]) -> None:
        """Step number ``step``, counted from 1, is done; ``metrics`` maps ``train/task/slot`` to its mean loss.

        Further names are those that are logged: ``train/task/slot/accuracy``, ``train/gradient_norm``.
        """

    @hookspec
    def ofa_validation_end(self, step: int, metrics: Mapping[str, float]) -> None:
        """A validation after ``step`` steps is done; ``metrics`` maps ``valid/task/metric`` to its value."""

    @hookspec
    def ofa_checkpoint_saved(self, path: Path) -> None:
        """A checkpoint is complete in the folder ``path``."""

    @hookspec
    def ofa_scored(self, folder: Path) -> None:
        """A run was scored: its ``folder`` holds ``scores.json``, predictions and samples."""

    @hookspec
    def ofa_run_end(self) -> None:
        """Training is over, also after an error."""


class RunHooks:
    """Calls the hooks of a run. One that raises is reported and called no more: it must not cost anybody a run.

    Args:
        registry: What is installed. Under ``OFA_STRICT_PLUGINS=1`` an error of a hook ends the run.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry, self._manager = registry, hook_manager(registry)

    def call(self, hook: str, **arguments: Any) -> None:
        """Call one hook of every plugin that implements it.

        Raises:
            HookError: A plugin's hook raises, and ``OFA_STRICT_PLUGINS=1``.
        """
        plugins = self._manager.get_plugins()
        for plugin in plugins:
            try:
                self._manager.subset_hook_caller(hook, plugins - {plugin})(**arguments)
            except Exception as error:
                self._dismiss(plugin, hook, error)

    def _dismiss(self, plugin: Any, hook: str, error: Exception) -> None:
        distribution, _, name = (self._manager.get_name(plugin) or "").partition(":")
        self._manager.unregister(plugin)
        cause = f"{type(error).__name__}: {error}; it is called no more in this run"
        _report(HookError(hook, cause, name, distribution, f"the hook '{hook}'"), self._registry)


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
            if isinstance(plugin, type):
                plugin = plugin()
            manager.register(plugin, f"{row.distribution}:{row.name}")
        except Exception as error:
            cause = (
                error.cause if isinstance(error, LoadError) else f"{type(error).__name__}: {error}"
            )
            _report(LoadError(target, cause, row.name, row.distribution, "the hooks"), registry)
    return manager


def _report(problem: LoadError, registry: Registry) -> None:
    if registry.strict:
        raise problem
    logging.getLogger(__name__).warning("%s", problem)
